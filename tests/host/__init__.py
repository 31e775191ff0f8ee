"""A real ComfyUI server for tests and the demo: install it, start it, talk to it over HTTP.

- ``install.py``  creates ``.venv`` and a copy of ComfyUI 0.3.75 in ``.cache`` (standard library only)
- ``launcher.py`` runs ComfyUI's ``main.py`` inside the server process
- ``server.py``   :class:`ComfyServer`, a context manager around one server process
- ``client.py``   :class:`ComfyClient`, which queues workflows and waits for their results
"""
