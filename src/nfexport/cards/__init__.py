"""Model cards: what a file is, its inputs and outputs, and where it comes from, in Markdown, from the file alone.

FileFacts ─composition▶ Card ─document▶ Markdown            a style is one template in the folder 'templates'
"""
