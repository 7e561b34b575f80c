"""A BlenderProc script as an environment of autosim."""
