"""A process that uses one connection whenever it is told to, as a worker would: `python -m tests.system.refresher crm`.

For every line on its input it asks the vendor who is signed in, through a connector opened anew, and prints one line
of JSON: {"account": ...} or {"error": type, "message": ..., "remedy": ...}. An empty line is printed when it is ready.
"""

from __future__ import annotations

import json
import os
import sys

from connectors.errors import SyncError
from syncd.app import open_app
from syncd.config import load_settings
from syncd.connecting import open_connection


def main(name: str) -> None:
    app = open_app(load_settings(None, os.environ))
    print("ready", flush=True)
    for _ in sys.stdin:
        talking = open_connection(app, name)
        try:
            answer = {"account": talking.connector.check().account.id}
        except SyncError as error:
            answer = {"error": type(error).__name__, "message": error.message, "remedy": error.remedy}
        finally:
            talking.close()
        print(json.dumps(answer), flush=True)
    app.close()


if __name__ == "__main__":
    main(sys.argv[1])
