"""The judge: ACFun beside everything else one could do with one style picture and one photo, on the same base.

* :mod:`benchmarks.lists`      which pictures, by their SHA-256
* :mod:`benchmarks.runner`     cells of work that are done once, by one process or several; stopped at any moment, it goes on
* :mod:`benchmarks.store`      rows of finished cells in SQLite, and the files that belong to them
* :mod:`benchmarks.workbench`  the base, the sampler and a count of passes, the same for every method
* :mod:`benchmarks.methods`    the methods, one small class each
* :mod:`benchmarks.drawing`    cells that train and draw by methods
* :mod:`benchmarks.measures`   the numbers of one picture
* :mod:`benchmarks.aggregate`  tables, J and its intervals
* :mod:`benchmarks.judge`      ``make judge-full`` and ``make judge``
* :mod:`benchmarks.sweep`      settings of ACFun on the tuning pairs
* :mod:`benchmarks.report`     one HTML file with tables, plots and contact sheets
* :mod:`benchmarks.pages`      pages from templates, and :mod:`benchmarks.plots`
* :mod:`benchmarks.blind`      two results side by side, unnamed: votes and their ranking
* :mod:`benchmarks.speed`      ``make bench``: milliseconds and memory, with :mod:`benchmarks.speed_of_nodes`

The same runner measures three pages of docs/: :mod:`benchmarks.ablations` by methods of the judge, :mod:`benchmarks.stability`
on :mod:`benchmarks.random_bases`, and :mod:`benchmarks.combinations` of the adapter with other :mod:`benchmarks.parts`.
"""
