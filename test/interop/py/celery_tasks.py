"""The tasks of amqp_celery.py, in a module that its workers import."""

import os

from celery import Celery, group

app = Celery("interop", broker=f"amqp://guest:guest@{os.environ['AMQP_ADDR']}//", backend="rpc://")
app.conf.task_default_queue = os.environ["CELERY_QUEUE"]
app.conf.broker_connection_retry_on_startup = True


@app.task
def add(a, b):
    return a + b


@app.task(bind=True, max_retries=3)
def third_time(self, n):
    if self.request.retries < 2:
        raise self.retry(countdown=0.3)
    return n, self.request.retries
