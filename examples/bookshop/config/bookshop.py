#!/usr/bin/env python3
# A layer that is a program, for what has to be computed: the configuration so far comes in, the whole goes out.
import json
import os
import sys

config = json.load(sys.stdin)
where = os.environ.get("SLUICE_CLUSTER") or os.environ["SLUICE_ENV"]
config["shop"]["url"] = f"https://{where}.books.example.com"
json.dump(config, sys.stdout)
