"""One set of users for every protocol: SCRAM and PLAIN by librdkafka, kcat and kafka-python, AMQP by pika.

The user guest must have its first password, and be an administrator.
"""

import subprocess

import kafka
import pika
from confluent_kafka import KafkaException
from confluent_kafka.admin import AdminClient, ScramCredentialInfo, ScramMechanism, UserScramCredentialDeletion, UserScramCredentialUpsertion

from check import AMQP_HOST, AMQP_PORT, KAFKA_ADDR, check, equal, main, until, RUN

MECHANISMS = "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"


def rdkafka(mechanism, user, password, **more):
    return AdminClient(
        {"bootstrap.servers": KAFKA_ADDR, "security.protocol": "SASL_PLAINTEXT", "sasl.mechanism": mechanism, "sasl.username": user, "sasl.password": password} | more
    )


def refused(mechanism, user, password):
    """What librdkafka hears of a login that fails."""
    errors = []
    admin = rdkafka(mechanism, user, password, error_cb=lambda e: errors.append(str(e)))

    def heard():
        admin.poll(0.2)
        return errors

    return until(heard, f"{user} is refused by {mechanism}", 20)[0]


def amqp(user, password):
    return pika.BlockingConnection(pika.ConnectionParameters(AMQP_HOST, AMQP_PORT, credentials=pika.PlainCredentials(user, password)))


for each in MECHANISMS:

    @check(f"librdkafka logs in by {each}")
    def librdkafka(mechanism=each):
        equal(len(rdkafka(mechanism, "guest", "guest").list_topics(timeout=60).brokers), 1, "brokers")

    @check(f"kcat logs in by {each}")
    def kcat(mechanism=each):
        arguments = ["-X", "security.protocol=SASL_PLAINTEXT", "-X", f"sasl.mechanism={mechanism}", "-X", "sasl.username=guest", "-X", "sasl.password=guest"]
        done = subprocess.run(["kcat", "-b", KAFKA_ADDR, *arguments, "-L"], capture_output=True, text=True, timeout=90)
        equal((done.returncode, "1 brokers" in done.stdout), (0, True), f"kcat -L: {done.stdout} {done.stderr}")

    @check(f"kafka-python logs in by {each}")
    def kafka_python(mechanism=each):
        admin = kafka.KafkaAdminClient(
            bootstrap_servers=KAFKA_ADDR, security_protocol="SASL_PLAINTEXT", sasl_mechanism=mechanism, sasl_plain_username="guest", sasl_plain_password="guest"
        )
        equal(len(admin.describe_cluster()["brokers"]), 1, "brokers")
        admin.close()


@check("a wrong password and a name that nobody has are refused in the same words", 60)
def wrong():
    words = [refused("SCRAM-SHA-512", user, "wrong") for user in ("guest", f"nobody-{RUN}")]
    for text in words:
        equal("uthentication" in text and "the name or the password is wrong" in text, True, f"the error says why: {text}")


@check("kafka-python is refused by SCRAM with a wrong password", 60)
def wrong_python():
    try:
        kafka.KafkaAdminClient(
            bootstrap_servers=KAFKA_ADDR, security_protocol="SASL_PLAINTEXT", sasl_mechanism="SCRAM-SHA-256", sasl_plain_username="guest",
            sasl_plain_password="wrong", bootstrap_timeout_ms=3000,
        )
    except kafka.errors.KafkaError:
        return
    raise AssertionError("a wrong password gets in")


@check("a user whom librdkafka makes is known to AMQP, and may nothing yet", 60)
def made():
    user, root = f"made-{RUN}", rdkafka("SCRAM-SHA-256", "guest", "guest")

    def alter(*alterations):
        for done in root.alter_user_scram_credentials(list(alterations)).values():
            done.result(60)

    def put(password, *mechanisms):
        alter(*(UserScramCredentialUpsertion(user, ScramCredentialInfo(m, 8192), password.encode()) for m in mechanisms))

    def described():
        return {str(i.mechanism) for i in root.describe_user_scram_credentials([user])[user].result(60).scram_credential_infos}

    put("first", ScramMechanism.SCRAM_SHA_256, ScramMechanism.SCRAM_SHA_512)
    equal(len(described()), 2, "mechanisms of the new user")
    for password, words in (("first", "access to vhost '/' refused for user"), ("other", "ACCESS_REFUSED")):
        try:
            amqp(user, password)
            raise AssertionError("the user is in the virtual host")
        except (pika.exceptions.ConnectionClosedByBroker, pika.exceptions.ProbableAccessDeniedError, pika.exceptions.ProbableAuthenticationError, pika.exceptions.AuthenticationError) as e:
            equal(words in str(e), True, f"the refusal of {password}: {e!r}")
    equal("refused" in refused("SCRAM-SHA-256", user, "first"), True, "without a permission")
    put("second", ScramMechanism.SCRAM_SHA_512)
    equal(len(described()), 1, "mechanisms after another password")
    alter(UserScramCredentialDeletion(user, ScramMechanism.SCRAM_SHA_512))
    try:
        described()
        raise AssertionError("the credential is there")
    except KafkaException as e:
        equal("RESOURCE_NOT_FOUND" in str(e), True, f"after the deletion: {e}")


@check("pika logs in")
def pika_in():
    connection = until(lambda: amqp("guest", "guest"), "guest is in")
    connection.close()


if __name__ == "__main__":
    main()
