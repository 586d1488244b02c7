"""RabbitMQ's tutorials as they are published, each program unedited, run as their text says a reader runs them.

    tutorials.py CHECKOUT LANGUAGE

CHECKOUT is a checkout of the repository rabbitmq/rabbitmq-tutorials, which no package registry
has; LANGUAGE is python, go, javascript, ruby, php or rust. The programs talk to localhost:5672.
Called by `run --tutorials`, which starts the broker there and sets the paths of the clients.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from check import check, equal, main, until
from program import Program

CHECKOUT, LANGUAGE = sys.argv[1:3]
BUILT = tempfile.mkdtemp(prefix="tutorials-")  # under the runner's own folder, which it removes
FOLDERS = {"javascript": "javascript-nodejs", "rust": "rust-lapin"}
FOLDER = os.path.join(os.path.abspath(CHECKOUT), FOLDERS.get(LANGUAGE, LANGUAGE))

if LANGUAGE == "php":  # the programs want Composer's folder beside them; Debian's php-amqplib has a loader of its own
    FOLDER = shutil.copytree(FOLDER, os.path.join(BUILT, "php"))
    os.makedirs(f"{FOLDER}/vendor", exist_ok=True)
    with open(f"{FOLDER}/vendor/autoload.php", "w") as loader:
        loader.write("<?php require '/usr/share/php/PhpAmqpLib/autoload.php';\n")
if LANGUAGE == "rust":
    subprocess.run(["cargo", "build", "--quiet", "--locked", "--target-dir", f"{BUILT}/rust"], cwd=FOLDER, check=True)


def command(program):
    if LANGUAGE == "python":
        return [sys.executable, f"{program}.py"]
    if LANGUAGE == "javascript":
        return ["node", f"src/{program}.js"]
    if LANGUAGE == "ruby":
        return ["ruby", f"{program}.rb"]
    if LANGUAGE == "php":
        return ["php", f"{program}.php"]
    built = os.path.join(BUILT, program)
    if LANGUAGE == "go" and not os.path.exists(built):
        subprocess.run(["go", "build", "-o", built, f"{program}.go"], cwd=FOLDER, check=True)
    if LANGUAGE == "rust":
        built = os.path.join(BUILT, "rust", "debug", program)
    return [built]


def start(program, *args):
    return Program(*command(program), *args, cwd=FOLDER)


def listening(program, *args):
    started = start(program, *args).says("aiting", seconds=120)  # Waiting, Awaiting; the first may have to be compiled
    until(lambda: started.process.poll() is None, "life")
    return started


def run(program, *args):
    return start(program, *args).ends(120)


@check("tutorial 1, hello world", 200)
def hello():
    with listening("receive") as receiver:
        run("send").says("Sent")
        receiver.says("Hello World!")
    run("send")
    with listening("receive") as receiver:  # started second, as the text invites to
        receiver.says("Hello World!")


@check("tutorial 2, work queues", 120)
def work_queues():
    with listening("worker") as first, listening("worker") as second:
        for task in ("a..", "b.", "c.", "d."):  # a second for each dot; in Rust's for each letter
            run("new_task", task).says("Sent", task)
        until(lambda: (first.text + second.text).count("Done") == 4, "four tasks done", 20)
        first.says("Received", "Done")
        second.says("Received", "Done")
        first.interrupt()
        run("new_task", "left....").says("Sent")
        second.says("left")
        second.process.kill()  # before it is done: the task must not be lost
    with listening("worker") as third:
        third.says("left", "Done", seconds=20)


@check("tutorial 3, publish and subscribe", 120)
def publish_subscribe():
    run("emit_log", "nobody hears this")
    with listening("receive_logs") as first, listening("receive_logs") as second:
        run("emit_log", "everybody hears this").says("Sent")
        for receiver in (first, second):
            receiver.says("everybody hears this").says_not("nobody")


@check("tutorial 4, routing", 120)
def routing():
    with listening("receive_logs_direct", "warning", "error") as some, listening("receive_logs_direct", "info", "warning", "error") as every:
        run("emit_log_direct", "info", "all is well")
        run("emit_log_direct", "error", "Run. Run. Or it will explode.")
        every.says("info", "all is well", "error", "it will explode")
        some.says("error", "it will explode").says_not("all is well")


@check("tutorial 5, topics", 120)
def topics():
    patterns = [["#"], ["kern.*"], ["*.critical"], ["kern.*", "*.critical"]]
    receivers = [listening("receive_logs_topic", *each) for each in patterns]
    try:
        run("emit_log_topic", "kern.critical", "A critical kernel error")
        run("emit_log_topic", "cron.critical", "a cron job died")
        run("emit_log_topic", "cron.info.more", "the end")
        everything, kernel, critical, either = receivers
        everything.says("A critical kernel error", "a cron job died", "the end")
        kernel.says("A critical kernel error").says_not("cron")
        critical.says("A critical kernel error", "a cron job died").says_not("the end")
        either.says("A critical kernel error", "a cron job died").says_not("the end")
        equal(either.text.count("A critical kernel error"), 1, "copies for two bindings that match")
    finally:
        for receiver in receivers:
            receiver.interrupt()


@check("tutorial 6, RPC", 120)
def rpc():
    with listening("rpc_server") as server:
        run("rpc_client", "30").says("832040")
        until(lambda: server.process.poll() is None, "a server that lives on")


if LANGUAGE in ("go", "ruby"):  # the others have it as text only

    @check("tutorial 7, publisher confirms", 300)
    def publisher_confirms():
        start("publisher_confirms").ends(280).says("ublished", times=3)


main()
