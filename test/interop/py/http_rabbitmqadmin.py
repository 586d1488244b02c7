"""rabbitmqadmin v2, RabbitMQ's command line over the HTTP management API: what its guide shows, and what it prints."""

import json
import os
import subprocess
import sys
import tempfile

from check import check, equal, main, name

HOST, PORT = os.environ["HTTP_ADDR"].rsplit(":", 1)
PROGRAM = sys.argv[1]


def run(*words, fails=False):
    done = subprocess.run([PROGRAM, "--host", HOST, "--port", PORT, "--non-interactive", *words], capture_output=True, text=True, timeout=90)
    if (done.returncode != 0) != fails:
        raise AssertionError(f"{' '.join(words)}: {done.returncode} {done.stdout[-300:]} {done.stderr[-300:]}")
    return done.stdout + done.stderr


def has(text, *parts):
    for part in parts:
        if part not in text:
            raise AssertionError(f"{part!r} is not in {text[:600]!r}")


Q, X, V, U = name("queue"), name("exchange"), name("vhost"), name("user")


@check("it shows the broker")
def shows():
    has(run("show", "overview"), "4.0.5")
    run("show", "churn")
    run("show", "memory_breakdown_in_bytes", "--node", run("nodes", "list").split()[0])
    has(run("list", "vhosts"), "/")


@check("queues, exchanges and bindings are declared, listed and deleted")
def topology():
    run("queues", "declare", "--name", Q, "--type", "quorum", "--durable", "true")
    run("exchanges", "declare", "--name", X, "--type", "topic")
    run("bindings", "declare", "--source", X, "--destination-type", "queue", "--destination", Q, "--routing-key", "a.#")
    has(run("queues", "list"), Q)
    has(run("bindings", "list"), X, "a.#")
    run("publish", "message", "--exchange", X, "--routing-key", "a.b", "--payload", "hello")
    has(run("get", "messages", "--queue", Q, "--count", "1", "--ack-mode", "ack_requeue_true"), "hello")
    run("queues", "purge", "--name", Q)
    run("bindings", "delete", "--source", X, "--destination-type", "queue", "--destination", Q, "--routing-key", "a.#")
    run("bindings", "delete", "--source", X, "--destination-type", "queue", "--destination", Q, "--routing-key", "a.#", "--idempotently")
    run("queues", "delete", "--name", Q)
    run("queues", "delete", "--name", Q, fails=True)
    run("queues", "delete", "--name", Q, "--idempotently")
    run("exchanges", "delete", "--name", X)


@check("virtual hosts, users, permissions, policies and limits come and go")
def administration():
    run("vhosts", "declare", "--name", V)
    run("users", "declare", "--name", U, "--password", "secret", "--tags", "management")
    run("permissions", "declare", "--vhost", V, "--user", U, "--configure", ".*", "--write", ".*", "--read", ".*")
    has(run("permissions", "list"), U, V)
    run("policies", "declare", "--vhost", V, "--name", "p", "--pattern", "^a", "--apply-to", "queues", "--priority", "3", "--definition", '{"max-length": 10}')
    has(run("policies", "list"), "max-length")
    run("vhost_limits", "declare", "--vhost", V, "--name", "max-queues", "--value", "5")
    has(run("vhost_limits", "list", "--vhost", V), "max-queues")
    run("auth_attempts", "stats", "--node", run("nodes", "list").split()[0])
    run("users", "delete", "--name", U)
    run("vhosts", "delete", "--name", V)


@check("definitions go out and in")
def definitions():
    with tempfile.TemporaryDirectory() as folder:
        file = os.path.join(folder, "definitions.json")
        run("definitions", "export", "--file", file)
        with open(file) as f:
            equal(sorted(v["name"] for v in json.load(f)["vhosts"])[0], "/", "the first virtual host")
        run("definitions", "import", "--file", file)


@check("health checks say what is well")
def health():
    run("health_check", "local_alarms")
    run("health_check", "port_listener", "--port", PORT)
    run("health_check", "port_listener", "--port", "1", fails=True)


main()
