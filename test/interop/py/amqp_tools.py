"""amqp-tools, the command line of rabbitmq-c: declare, publish, get, consume and delete from a shell."""

import os
import subprocess
import tempfile

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name, until

SERVER = ["--server", AMQP_HOST, "--port", str(AMQP_PORT), "--username", "guest", "--password", "guest"]


def tool(which, *args, stdin="", code=0):
    done = subprocess.run([f"amqp-{which}", *SERVER, *args], input=stdin, capture_output=True, text=True, timeout=60)
    if done.returncode != code:
        raise AssertionError(f"amqp-{which} {args}: exit code {done.returncode}, want {code}: {done.stderr}")
    return done.stdout if code == 0 else done.stderr


def consumer(*args):
    """amqp-consume in the background, its output in a file."""
    out = tempfile.TemporaryFile("w+")
    process = subprocess.Popen(["amqp-consume", *SERVER, *args], stdout=out, stderr=subprocess.PIPE, text=True, stdin=subprocess.DEVNULL)
    return process, out


def text(out):
    """What is in the file, whose place in it the program that writes shares: it must not move."""
    return os.pread(out.fileno(), 1 << 20, 0).decode()


@check("declare, publish, get, delete")
def first_steps():
    queue = name("steps")
    equal(tool("declare-queue", "-d", "-q", queue).strip(), queue, "name of the queue")
    tool("publish", "-r", queue, "-p", "-C", "text/plain", "-H", "colour: green", "-b", "hello world")
    equal(tool("get", "-q", queue), "hello world", "body")
    tool("get", "-q", queue, code=2)  # empty
    equal(tool("delete-queue", "-q", queue).strip(), "0", "messages in what was deleted")


@check("a server-named queue")
def server_named():
    with_name = tool("declare-queue", "-q", "").strip()
    if not with_name.startswith("amq.gen-"):
        raise AssertionError(f"the broker names a queue {with_name!r}")
    tool("delete-queue", "-q", with_name)


@check("each line is a message")
def lines():
    queue = name("lines")
    tool("declare-queue", "-q", queue)
    tool("publish", "-r", queue, "-l", stdin="".join(f"line {i}\n" for i in range(500)))
    process, out = consumer("-q", queue, "-c", "500", "-p", "10", "cat")
    equal(process.wait(60), 0, "exit code")
    equal(text(out), "".join(f"line {i}\n" for i in range(500)), "lines in order")
    equal(tool("delete-queue", "-q", queue).strip(), "0", "messages left")


@check("a body of a megabyte from standard input")
def large():
    queue = name("large")
    tool("declare-queue", "-q", queue)
    body = "0123456789abcdef" * 65536
    tool("publish", "-r", queue, stdin=body)
    equal(tool("get", "-q", queue) == body, True, "the body came back as it was")
    tool("delete-queue", "-q", queue)


@check("consumers on an exchange, each with a queue of its own")
def exchange():
    keys = [name("a"), name("b")]
    consumers = [consumer("-e", "amq.topic", "-r", key, "-x", "-q", name(f"own-{key}"), "-c", "2", "-A", "cat") for key in keys]

    for key, (process, out) in zip(keys, consumers):
        until(lambda: tool("publish", "-e", "amq.topic", "-r", key, "-b", f"{key};") or text(out), "a message through the binding", step=0.1)
        tool("publish", "-e", "amq.topic", "-r", key, "-b", f"{key};")
        equal(process.wait(60), 0, "exit code")
        equal(text(out), f"{key};{key};", "what came")


@check("a command that fails leaves its message to the next")
def failing():
    queue = name("failing")
    tool("declare-queue", "-q", queue)
    tool("publish", "-r", queue, "-b", "try me")
    process, _ = consumer("-q", queue, "-c", "1", "false")
    process.wait(60)
    until(lambda: tool("get", "-q", queue, code=0) == "try me", "the message")
    tool("delete-queue", "-q", queue)


@check("delete says no to a queue that is in use or not empty")
def careful():
    queue = name("careful")
    tool("declare-queue", "-q", queue)
    tool("publish", "-r", queue, "-b", "x")
    said = tool("delete-queue", "-e", "-q", queue, code=1)
    if "PRECONDITION_FAILED" not in said or "not empty" not in said:
        raise AssertionError(f"if-empty: {said!r}")
    tool("get", "-q", queue)
    process, out = consumer("-q", queue, "cat")
    try:
        tool("publish", "-r", queue, "-b", "seen")
        until(lambda: text(out) == "seen", "a message at the consumer")
        said = tool("delete-queue", "--if-unused", "-q", queue, code=1)
        if "PRECONDITION_FAILED" not in said or "in use" not in said:
            raise AssertionError(f"if-unused: {said!r}")
    finally:
        process.kill()
        process.wait()
    until(lambda: subprocess.run(["amqp-delete-queue", *SERVER, "--if-unused", "-q", queue], capture_output=True).returncode == 0, "the consumer's end")


@check("errors tell RabbitMQ's words")
def errors():
    said = tool("get", "-q", name("missing"), code=1)
    if "404" not in said or "NOT_FOUND - no queue" not in said:
        raise AssertionError(f"a queue that is not there: {said!r}")
    done = subprocess.run(["amqp-get", "--server", AMQP_HOST, "--port", str(AMQP_PORT), "--username", "guest", "--password", "wrong", "-q", "x"], capture_output=True, text=True, timeout=60)
    if done.returncode == 0 or "ACCESS_REFUSED" not in done.stderr and "403" not in done.stderr:
        raise AssertionError(f"a wrong password: {done.stderr!r}")


main()
