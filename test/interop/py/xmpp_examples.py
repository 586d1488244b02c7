"""The examples that come with slixmpp, unedited, from its source archive."""

import os
import sys

from check import RUN, check, main, user
from program import Program

os.environ["SSL_CERT_FILE"] = os.environ.get("TLS_DIR", "") + "/ca.pem"
ANN, BOB, OWNER = (f"{user(who)}@localhost" for who in ("ann", "bob", "owner"))
NODE = f"news-{RUN}"


def example(which, jid, *args):
    here = os.path.dirname(os.path.abspath(__file__))
    return Program(sys.executable, f"{here}/xmpp_at.py", f"{sys.argv[1]}/examples/{which}.py", "-j", jid, "-p", "secret", *args)


@check("ping: how long the server takes")
def ping():
    example("ping", ANN, "-t", "localhost").says("Success! RTT").interrupt()


@check("send_client and echo_client: there and back")
def echo():
    with example("echo_client", BOB, "-d") as answers:
        answers.says("session_start")
        with example("send_client", ANN, "-d", "-t", BOB, "-m", f"hello {RUN}"):
            answers.says(f"hello {RUN}", "Thanks for sending")


@check("disco_browser: the server and its pubsub")
def disco():
    example("disco_browser", ANN, "all", "localhost").says("pubsub.localhost").interrupt()
    example("disco_browser", ANN, "identities", "pubsub.localhost").says("pubsub", "service").interrupt()


@check("roster_browser: a list came, and presence is waited for")
def roster():
    example("roster_browser", ANN).says("Waiting for presence updates").interrupt()


@check("pubsub_client and pubsub_events: the life of a node")
def pubsub():
    def client(*args, jid=OWNER):
        return example("pubsub_client", jid, "pubsub.localhost", *args)

    client("create", NODE).says(f"Created node {NODE}").interrupt()
    client("nodes").says(NODE).interrupt()
    client("subscribe", NODE, jid=BOB).says("Subscribed", f"to node {NODE}").interrupt()
    with example("pubsub_events", BOB, "-d") as events:
        events.says("session_start")
        client("publish", NODE, "payload").says("Published at item id:").interrupt()
        events.says("Published item", f"to {NODE}")
        client("get_configure", NODE).says("Configure form received").interrupt()
        client("purge", NODE).says("Purged all items").interrupt()
        client("delete", NODE).says(f"Deleted node {NODE}").interrupt()
        events.says(f"Deleted node {NODE}")


main()
