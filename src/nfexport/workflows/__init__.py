"""The workflows that combine the stages: export, surgery, verify, rebuild, preset, golden."""
