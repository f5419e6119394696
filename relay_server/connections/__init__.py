"""Where devices, publishers and watchers are served: the cores' effects performed on their streams."""
