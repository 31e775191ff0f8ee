"""A real ComfyUI server for the demo, the benchmarks and the tests: install it, start it, talk to it over HTTP.

- ``install.py``  creates ``.venv`` and a copy of ComfyUI 0.3.75 in ``.cache`` (standard library only)
- ``brought.py``  what a ComfyUI that the user brings (``COMFYUI=folder``) needs beside it
- ``launcher.py`` runs ComfyUI's ``main.py`` inside the server process
- ``server.py``   :class:`ComfyServer`, a context manager around one server process
- ``client.py``   :class:`ComfyClient`, which queues workflows and waits for their results
- ``graphs.py``   graphs of the pack's nodes, put together from named parts
- ``chromium.py`` a browser on this machine, ``editor.py`` the editor in it as a user drives it
- ``random_files.py``, ``random_sd15.py`` files that a user would have, with random weights
- ``probes/``     node packs that look inside the server
"""
