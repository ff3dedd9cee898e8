"""Views for JupyterLab: they show what the library works out and forward clicks."""
