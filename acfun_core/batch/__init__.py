"""Many styles and many faces: every style is learned once, every face drawn in each, on one machine or on many.

* ``extras``    libraries that only a batch needs, and what to install for them
* ``folders``   a folder on this disk or at any address that fsspec knows; files in it are whole or not there
* ``ways``      what a preset and its overrides come to: one training and one drawing
* ``plan``      rows of a YAML or CSV file, or two folders; every mistake with its row, before anything starts
* ``keys``      names made of content: of pictures, options and the base
* ``jobs``      a plan as trainings and drawings, each under its key
* ``results``   what is done and what failed, as files that one look tells
* ``work``      one training and one drawing; the same function for every engine, and so the same bits
* ``drive``     the loop that hands out jobs and takes outcomes, for any engine
* ``here``      the engine that is this process; ``on_ray`` the one that is a Ray cluster
* ``tally``     how many are done and how long the rest takes
* ``report``    the table of results; ``sheet`` the contact sheet
"""
