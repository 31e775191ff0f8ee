"""The judge: ACFun beside everything else one could do with one style picture and one photo, on the same base.

* :mod:`benchmarks.lists`      which pictures, by their SHA-256
* :mod:`benchmarks.store`      results in SQLite, one row an image, and the pictures beside it
* :mod:`benchmarks.workbench`  the base, the sampler and a count of passes, the same for every method
* :mod:`benchmarks.methods`    the methods, one small class each
* :mod:`benchmarks.run`        trains and draws what is not there yet
* :mod:`benchmarks.measures`   the numbers of one picture
* :mod:`benchmarks.aggregate`  tables, J and its intervals
* :mod:`benchmarks.judge`      ``make judge-full`` and ``make judge``
* :mod:`benchmarks.sweep`      settings of ACFun on the tuning pairs
* :mod:`benchmarks.report`     one HTML file with tables, plots and contact sheets
* :mod:`benchmarks.blind`      two results side by side, unnamed: votes and their ranking
"""
