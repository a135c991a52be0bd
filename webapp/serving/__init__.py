"""The serving process and its workers: one loop that keeps connections and queues, processes that run Django and the engine.

``front.py`` is the application that the server runs, ``pool.py`` the processes behind it, ``worker.py`` what runs inside one.
Whatever a request costs, it costs a worker: one that takes too much time or memory ends, is said to the one who asked, and is made anew.
"""
