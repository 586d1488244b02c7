"""nameko: RPC and events between services, over kombu."""

import eventlet

eventlet.monkey_patch()

from nameko.containers import ServiceContainer
from nameko.events import EventDispatcher, event_handler
from nameko.rpc import rpc
from nameko.standalone.rpc import ClusterRpcProxy

from check import AMQP_HOST, AMQP_PORT, RUN, check, equal, main, until

config = {"AMQP_URI": f"amqp://guest:guest@{AMQP_HOST}:{AMQP_PORT}"}
GREETER = f"greeter_{RUN}"  # names of queues are made of it
heard = []


class Greeter:
    name = GREETER
    dispatch = EventDispatcher()

    @rpc
    def greet(self, who):
        self.dispatch("greeted", who)
        return f"hello {who}"

    @rpc
    def fail(self):
        raise ValueError("as asked")


class Listener:
    name = f"listener_{RUN}"

    @event_handler(GREETER, "greeted")
    def on_greeted(self, who):
        heard.append(who)


containers = [ServiceContainer(service, config=config) for service in (Listener, Greeter)]


@check("RPC answers, errors included")
def calls():
    for container in containers:
        container.start()
    with ClusterRpcProxy(config, timeout=60) as services:
        equal([services[GREETER].greet(str(i)) for i in range(20)], [f"hello {i}" for i in range(20)], "answers")
        try:
            services[GREETER].fail()
        except Exception as error:
            equal("as asked" in str(error), True, "the error's text")
        else:
            raise AssertionError("no error came back")


@check("events reach the other service")
def events():
    until(lambda: len(heard) == 20, "20 events")
    equal(heard[0], "0", "the first event")


@check("services stop")
def stop():
    for container in containers:
        container.stop()


main()
