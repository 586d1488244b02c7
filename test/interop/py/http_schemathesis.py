"""Schemathesis: requests made of the broker's own OpenAPI description, those that fit it and those that do not.

It tells whether the answers are of a status and a form that the description has, and whether one is a failure of the server. What RabbitMQ takes and no
schema would have (a page_size without a page, null in a list) is taken, so that is not checked; nor are streams, which do not end,
and the health checks, which say 503 of what is not well. It would find its own user in a list, and delete it.
"""

import os
import subprocess
import sys

from check import check, main

HTTP = os.environ["HTTP_ADDR"]


@check("answers are what the description says", limit=60)
def answers():
    done = subprocess.run(
        [os.path.join(os.path.dirname(sys.executable), "schemathesis"), "run", f"http://{HTTP}/api/openapi.json", "--url", f"http://{HTTP}/api", "--auth", "guest:guest", "--workers", "1",
         "--max-time", "20", "--phases", "coverage,fuzzing", "--max-examples", "5", "--continue-on-failure", "--no-color", "--warnings", "off",
         "--exclude-operation-id-regex", "_stream$|^get_health|^(put|delete)_users_user$|^post_users_bulk|^delete_vhosts_vhost$|^(put|delete)_permissions",
         "--checks", "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance,unsupported_method,missing_required_header"],
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=os.environ.get("TMPDIR"))
    print(done.stdout, file=sys.stderr)
    if done.returncode != 0:
        raise AssertionError(" ".join(line.strip() for line in done.stdout.splitlines() if line.startswith("- ") or "curl" in line)[:2000] or done.stdout[-500:])
    if "generated" not in done.stdout:
        raise AssertionError("no request was made")


main()
