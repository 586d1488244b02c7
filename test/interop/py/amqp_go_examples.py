"""The examples that come with amqp091-go, unedited; prepare.sh compiles them."""

import sys

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name
from program import Program

URL = f"amqp://guest:guest@{AMQP_HOST}:{AMQP_PORT}/"


def example(which, *args):
    return Program(f"{sys.argv[1]}/{which}", *args)


@check("consumer and producer with confirms")
def consumer_and_producer():
    kinds = {}
    for kind in ("direct", "topic", "fanout"):
        where = ["-uri", URL, "-exchange", name(f"{kind}-exchange"), "-exchange-type", kind, "-queue", name(f"{kind}-queue"), "-key", f"{kind}.key"]
        kinds[kind] = where, example("consumer", *where, "-lifetime", "10m", "-consumer-tag", "its-tag")
    for kind, (where, consumer) in kinds.items():
        consumer.says("declared Queue")
        example("producer", *where, "-body", f"hello {kind}").ends().says("confirmed delivery", "all confirms seen")
    for kind, (_, consumer) in kinds.items():
        consumer.says(f"hello {kind}").ends(by="SIGINT").says("AMQP shutdown OK")


@check("pubsub: what one is told all print")
def pubsub():
    with example("pubsub", "-url", URL) as first, example("pubsub", "-url", URL) as second:
        for each in (first, second):
            each.says("subscribed", "publishing")
        first.type("from the first")
        second.type("from the second")
        # A terminal shows what was typed in it, so that the writer's own line comes twice.
        first.says("from the second").says("from the first", times=2)
        second.says("from the first").says("from the second", times=2)


@check("recovery: publishes to a queue and consumes it on a connection that would recover")
def recovery():
    with example("recovery", "-url", URL) as program:
        program.says("Published: Message 1", "Received: Message 1", "Published: Message 2", "Received: Message 2")
        program.ends(by="SIGINT").says("Shutting down gracefully")


main()
