"""pika and queues that are born under policies, which came from a file of definitions.

The broker must have taken py/policies.json: --definitions, or rabbitmqctl import_definitions.
"""

import pika
import pika.exceptions

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, until

QUORUM = {"x-queue-type": "quorum"}


def opened():
    parameters = pika.ConnectionParameters(AMQP_HOST, AMQP_PORT, "policies", pika.PlainCredentials("guest", "guest"))
    connection = pika.BlockingConnection(parameters)
    channel = connection.channel()
    channel.confirm_delivery()
    return connection, channel


def publish(channel, key, n, exchange=""):
    """How many of n messages were refused."""
    refused = 0
    for i in range(n):
        try:
            channel.basic_publish(exchange, key, str(i).encode(), pika.BasicProperties(delivery_mode=2), mandatory=True)
        except pika.exceptions.NackError:
            refused += 1
    return refused


def drained(channel, queue):
    """What is in the queue."""
    out = []
    while True:
        method, _, body = channel.basic_get(queue, auto_ack=True)
        if method is None:
            return " ".join(out)
        out.append(body.decode())


def declared(channel, what, arguments=None):
    queue = name(what)
    channel.queue_declare(queue, durable=True, arguments=arguments or {})
    return queue


LIMITS = {
    "a limit of a policy": ("len.a", None, "3 4 5"),
    "the lesser of a policy and an argument: the argument's": ("len.b", {"x-max-length": 2}, "4 5"),
    "the lesser of a policy and an argument: the policy's": ("len.c", {"x-max-length": 9}, "3 4 5"),
    "an operator's limit": ("len-op.a", None, "4 5"),
    "a quorum queue's limit": ("len.q", QUORUM, "3 4 5"),
    "the policy of the highest priority": ("prio.a", None, "2 3 4 5"),
    "no policy that sets what a classic queue does not have": ("mix.a", None, "0 1 2 3 4 5"),
    "the same policy for a quorum queue": ("mix.q", QUORUM, "5"),
}
for title, (what, arguments, want) in LIMITS.items():

    @check(title)
    def limit(what=what, arguments=arguments, want=want):
        connection, channel = opened()
        queue = declared(channel, what, arguments)
        equal(publish(channel, queue, 6), 0, "refused")
        until(lambda: channel.queue_declare(queue, passive=True).method.message_count == len(want.split()), "the queue to be cut")
        equal(drained(channel, queue), want, "what is left")
        channel.queue_delete(queue)
        connection.close()


@check("a queue of the file is there, with its argument")
def of_the_file():
    connection, channel = opened()
    queue = "interop.amqp_policies.len-file.x"
    channel.queue_declare(queue, durable=True, arguments={"x-max-length": 2})
    channel.queue_purge(queue)
    publish(channel, queue, 5)
    equal(drained(channel, queue), "3 4", "what is left")
    connection.close()


@check("a full queue refuses by policy")
def refuses():
    connection, channel = opened()
    queue = declared(channel, "rej.a")
    equal(publish(channel, queue, 5), 3, "refused")
    equal(drained(channel, queue), "0 1", "what is left")
    channel.queue_delete(queue)
    connection.close()


@check("messages live for as long as a policy says")
def expire():
    connection, channel = opened()
    for what, arguments in ("ttl.a", None), ("ttl.q", QUORUM):
        queue = declared(channel, what, arguments)
        publish(channel, queue, 3)
        equal(channel.queue_declare(queue, passive=True).method.message_count, 3, "before their time")
        until(lambda queue=queue: channel.queue_declare(queue, passive=True).method.message_count == 0, "their time to be over")
        channel.queue_delete(queue)
    connection.close()


@check("what came back too often is a dead letter by policy")
def dead_letters():
    connection, channel = opened()
    queue, grave = declared(channel, "dl.a", QUORUM), declared(channel, "grave")
    channel.queue_bind(grave, "interop.policies")
    publish(channel, queue, 1)
    for _ in range(2):
        method = until(lambda: channel.basic_get(queue)[0], "the message")
        channel.basic_nack(method.delivery_tag, requeue=True)
    until(lambda: drained(channel, grave) == "0", "the dead letter")
    channel.queue_delete(queue)
    channel.queue_delete(grave)
    connection.close()


@check("what is routed nowhere goes to the alternate exchange of a policy")
def alternate():
    connection, channel = opened()
    exchange, queue = name("ae.a"), declared(channel, "rest")
    channel.exchange_declare(exchange, "direct", durable=True)
    channel.queue_bind(queue, "interop.policies")
    publish(channel, "nowhere", 2, exchange)
    equal(drained(channel, queue), "0 1", "what came")
    channel.exchange_delete(exchange)
    channel.queue_delete(queue)
    connection.close()


@check("a queue that nobody uses goes when a policy says so")
def lapse():
    connection, channel = opened()
    queue = declared(channel, "exp.a")

    def gone():
        nonlocal channel
        connection.sleep(1.5)
        try:
            channel.queue_declare(queue, passive=True)
        except pika.exceptions.ChannelClosedByBroker as error:
            channel = connection.channel()
            return error.reply_code == 404

    until(gone, "the queue to go")
    connection.close()


main()
