"""The orchestrators, where stages meet: export, surgery, verify, rebuild, preset, golden."""
