from tests.system.test_bad_connections import *
def test_probe(simple, vendors):
    pair = Pair(simple, vendors, CLIO)
    broken(pair.mine, CLIO, status(503))
    pair.problem(); pair.cli()
    pair.goes_on("Waitington")
    print(simple.owed())
    pair.mine.faults.clear()
    connections.check(simple.app, "mine")
    print("AFTER CHECK", [{k:v for k,v in o.items() if k in("state","due_at","why","operation","attempts")} for o in simple.owed()], simple.app.clock.now())
    for n in range(4):
        done = simple.sync(); print(n, done.problems, done.totals)
        print([{k:v for k,v in o.items() if k in("state","due_at","why","operation","attempts", "resource")} for o in simple.owed()], simple.app.clock.now())
    print([(e.method,e.path,e.status) for e in pair.mine.log][-40:])
    assert 0
