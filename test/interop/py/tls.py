"""pika, librdkafka and kcat over TLS, with and without certificates of their own.

Beside what check.py tells: AMQPS_ADDR and KAFKA_TLS_ADDR, and in the folder TLS_DIR, as leveret cert makes them,
ca.pem, and client-guest.pem and client-stranger.pem with their keys. Nobody here is called stranger.
"""

import os
import ssl
import subprocess

import pika
from confluent_kafka import Consumer, KafkaError, Producer
from pika.exceptions import AMQPConnectionError, ProbableAuthenticationError

from check import check, equal, main, name, until

HOST, AMQPS_PORT = os.environ["AMQPS_ADDR"].rsplit(":", 1)
KAFKA = os.environ["KAFKA_TLS_ADDR"]
DIR = os.environ["TLS_DIR"]
CA = f"{DIR}/ca.pem"
PASSWORD = pika.PlainCredentials("guest", "guest")


def pair(user):
    return f"{DIR}/client-{user}.pem", f"{DIR}/client-{user}-key.pem"


def connect(credentials, user=None, ca=CA, **versions):
    context = ssl.create_default_context(cafile=ca)
    for which, version in versions.items():
        setattr(context, which, version)
    if user:
        context.load_cert_chain(*pair(user))
    options = pika.SSLOptions(context, "localhost")
    return pika.BlockingConnection(
        pika.ConnectionParameters(HOST, int(AMQPS_PORT), credentials=credentials, ssl_options=options, socket_timeout=10)
    )


def round_trip(connection, size=3_000_000):
    """Messages small and large, confirmed, come back as they were."""
    bodies = [b"small %d" % i for i in range(500)] + [os.urandom(size), b""]
    channel = connection.channel()
    channel.confirm_delivery()
    queue = name("queue")
    channel.queue_declare(queue, durable=True)
    for body in bodies:
        channel.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2))
    got = []
    channel.basic_qos(prefetch_count=100)
    for method, _, body in channel.consume(queue, inactivity_timeout=60):
        got.append(body)
        channel.basic_ack(method.delivery_tag)
        if len(got) == len(bodies):
            break
    channel.cancel()
    equal(got == bodies, True, "what came back is what was sent")
    channel.queue_delete(queue)
    connection.close()


@check("pika: a password over TLS")
def amqp_password():
    round_trip(connect(PASSWORD))


@check("pika: over TLS 1.2")
def amqp_old():
    round_trip(connect(PASSWORD, maximum_version=ssl.TLSVersion.TLSv1_2))


@check("pika: SASL EXTERNAL by a client certificate")
def amqp_external():
    round_trip(connect(pika.credentials.ExternalCredentials(), "guest"))


@check("pika: a password, with a client certificate besides")
def amqp_both():
    round_trip(connect(PASSWORD, "stranger"))


@check("pika: a certificate that names nobody logs nobody in")
def amqp_stranger():
    try:
        connect(pika.credentials.ExternalCredentials(), "stranger")
    except ProbableAuthenticationError as error:
        equal("ACCESS_REFUSED" in str(error) and "EXTERNAL" in str(error), True, f"the refusal {error}")
    else:
        raise AssertionError("it logged in")


@check("pika: EXTERNAL without a certificate is not offered")
def amqp_nobody():
    try:
        connect(pika.credentials.ExternalCredentials())
    except AMQPConnectionError:
        return
    raise AssertionError("it logged in")


@check("pika: a broker that is not trusted is not spoken to")
def amqp_untrusted():
    try:
        connect(PASSWORD, ca=None)
    except ssl.SSLCertVerificationError:
        return
    raise AssertionError("it connected")


def kafka(user=None, **more):
    conf = {"bootstrap.servers": KAFKA, "security.protocol": "SSL", "ssl.ca.location": CA}
    if user:
        conf["ssl.certificate.location"], conf["ssl.key.location"] = pair(user)
    return conf | {key.replace("_", "."): value for key, value in more.items()}


def records(conf):
    """Records small and large, read back as they were."""
    topic, problems = name(f"topic{len(conf)}"), []
    values = [b"small %d" % i for i in range(500)] + [os.urandom(900_000)]
    producer = Producer(conf | {"linger.ms": 5, "error_cb": problems.append})
    for value in values:
        producer.produce(topic, value, partition=0)
    left = producer.flush(60)
    equal(left, 0, f"records that were not delivered ({problems[:2]})")
    consumer = Consumer(conf | {"group.id": topic, "auto.offset.reset": "earliest"})
    consumer.subscribe([topic])
    got = []

    def enough():
        for message in consumer.consume(200, 0.2):
            if message.error():
                raise AssertionError(message.error())
            got.append(message.value())
        return len(got) >= len(values)

    until(enough, "all records", 30)
    consumer.close()
    equal(got == values, True, "what came back is what was sent")


def refused(conf, what):
    topic, problems = name("refused"), []
    producer = Producer(conf | {"error_cb": problems.append, "message.timeout.ms": 3000})
    producer.produce(topic, b"x")
    left = producer.flush(60)
    delivered = not left and not problems
    equal(delivered, False, what)
    return problems


@check("librdkafka: TLS, without a login")
def kafka_plain():
    records(kafka())


@check("librdkafka: a client certificate is the login")
def kafka_certificate():
    records(kafka("guest"))


@check("librdkafka: SASL over TLS")
def kafka_sasl():
    for mechanism in ("PLAIN", "SCRAM-SHA-512"):
        login = {"security.protocol": "SASL_SSL", "sasl.mechanism": mechanism, "sasl.username": "guest", "sasl.password": "guest"}
        records(kafka() | login)
    records(kafka("stranger") | login)  # a login wins over the certificate


@check("librdkafka: a certificate that names nobody lets nobody in")
def kafka_stranger():
    refused(kafka("stranger"), "delivered for a stranger")


@check("librdkafka: a broker that is not trusted is not spoken to")
def kafka_untrusted():
    conf = kafka()
    del conf["ssl.ca.location"]
    problems = refused(conf, "delivered to a broker that is not trusted")
    equal(any(p.code() == KafkaError._SSL for p in problems), True, f"an error of TLS among {problems}")


def kcat(*arguments, stdin=""):
    command = ["kcat", "-b", KAFKA, "-q", "-X", "security.protocol=ssl", "-X", f"ssl.ca.location={CA}", *arguments]
    done = subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=90)
    if done.returncode:
        raise AssertionError(f"kcat: exit {done.returncode}: {done.stderr.strip()}")
    return done.stdout


@check("kcat: over TLS, without and with a certificate")
def kcat_tls():
    topic = name("kcat")
    certificate, key = pair("guest")
    kcat("-P", "-t", topic, stdin="first\n")
    own = ["-X", f"ssl.certificate.location={certificate}", "-X", f"ssl.key.location={key}"]
    kcat("-P", "-t", topic, *own, stdin="second\n")
    equal(kcat("-C", "-t", topic, "-o", "beginning", "-e", *own), "first\nsecond\n", "read back")


@check("openssl: TLS 1.0 and 1.1 are not spoken, and no cipher of old")
def old_tls():
    for options in (["-tls1"], ["-tls1_1"], ["-tls1_2", "-cipher", "AES128-SHA:ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA:@SECLEVEL=0"]):
        command = ["openssl", "s_client", "-connect", f"{HOST}:{AMQPS_PORT}", *options]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=90)
        equal("New, TLS" in done.stdout or "New, SSL" in done.stdout, False, f"{options} were agreed on")


main()
