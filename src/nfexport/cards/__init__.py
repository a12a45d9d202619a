"""Model cards: what a file is, takes, gives and where it comes from, in Markdown, from the file alone.

FileFacts ─describing▶ Card ─rendering▶ Markdown            a style is one template of the folder 'templates'
"""
