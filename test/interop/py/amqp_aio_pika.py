"""aio-pika: robust connections, confirms, RPC over its own patterns, all in asyncio."""

import asyncio

import aio_pika
from aio_pika.patterns import RPC

from check import AMQP_HOST, AMQP_PORT, check, equal, main, name

URL = f"amqp://guest:guest@{AMQP_HOST}:{AMQP_PORT}/"


@check("confirmed publishes are consumed in order")
def consume():
    async def work():
        async with await aio_pika.connect_robust(URL) as connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=10)
            queue = await channel.declare_queue(name("plain"), durable=True)
            for i in range(200):
                await channel.default_exchange.publish(aio_pika.Message(b"%d" % i, delivery_mode=2), queue.name)
            got = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        got.append(int(message.body))
                    if len(got) == 200:
                        break
            equal(got, list(range(200)), "bodies")
            await queue.delete()

    asyncio.run(work())


@check("its RPC pattern: expiring queues and dead letters for what nobody answers")
def rpc():
    async def work():
        async with await aio_pika.connect_robust(URL) as connection:
            calls = await RPC.create(await connection.channel())

            async def double(*, n):
                return 2 * n

            await calls.register(name("double"), double, auto_delete=True)
            equal(await asyncio.gather(*(calls.call(name("double"), {"n": i}) for i in range(50))), [2 * i for i in range(50)], "answers")
            try:
                await calls.call(name("nobody"), {}, expiration=1)
            except aio_pika.exceptions.MessageProcessError:
                pass
            else:
                raise AssertionError("a call of nobody has an answer")
            await calls.close()

    asyncio.run(work())


@check("a transaction is rolled back and committed")
def transaction():
    async def work():
        async with await aio_pika.connect(URL) as connection:
            channel = await connection.channel(publisher_confirms=False)
            queue = await channel.declare_queue(name("tx"), exclusive=True)
            tx = channel.transaction()
            await tx.select()
            await channel.default_exchange.publish(aio_pika.Message(b"no"), queue.name)
            await tx.rollback()
            await channel.default_exchange.publish(aio_pika.Message(b"yes"), queue.name)
            await tx.commit()
            message = await queue.get(timeout=60)
            equal(message.body, b"yes", "body")
            await message.ack()

    asyncio.run(work())


main()
