<?php
// php-amqplib: what its demos show, and what a broker must answer to it.
require '/usr/share/php/PhpAmqpLib/autoload.php';

use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Exception\AMQPTimeoutException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;

[$HOST, $PORT] = explode(':', getenv('AMQP_ADDR') ?: '127.0.0.1:5672');
$RUN = bin2hex(random_bytes(4));
$checks = [];

function name(string $what): string
{
    return "interop.php.$what.{$GLOBALS['RUN']}";
}

function equal($got, $want, string $what): void
{
    if ($got !== $want) {
        throw new Exception("$what: got " . substr(json_encode($got), 0, 300) . ', want ' . substr(json_encode($want), 0, 300));
    }
}

function connect(string $password = 'guest'): AMQPStreamConnection
{
    return new AMQPStreamConnection($GLOBALS['HOST'], (int) $GLOBALS['PORT'], 'guest', $password, '/', false, 'AMQPLAIN', null, 'en_US', 5.0, 10.0, null, true, 5);
}

/** The next messages of a queue, which must come within a minute. */
function take($channel, string $queue, int $count, bool $noAck = true): array
{
    $got = [];
    $tag = $channel->basic_consume($queue, '', false, $noAck, false, false, function (AMQPMessage $m) use (&$got) {
        $got[] = $m;
    });
    while (count($got) < $count) {
        $channel->wait(null, false, 60);
    }
    $channel->basic_cancel($tag);
    return $got;
}

function bodies(array $messages): array
{
    return array_map(fn ($m) => $m->getBody(), $messages);
}

function check(string $title, callable $run): void
{
    $GLOBALS['checks'][$title] = $run;
}

check('hello world', function () {
    $connection = connect();
    $channel = $connection->channel();
    $channel->queue_declare(name('hello'), false, false, false, true);
    $channel->basic_publish(new AMQPMessage('Hello World!'), '', name('hello'));
    equal(bodies(take($channel, name('hello'), 1)), ['Hello World!'], 'message');
    $connection->close();
});

check('work queues: acks, prefetch, a worker that goes', function () {
    $connection = connect();
    $channel = $connection->channel();
    $queue = name('tasks');
    $channel->queue_declare($queue, false, true, false, false);
    for ($i = 0; $i < 10; $i++) {
        $channel->basic_publish(new AMQPMessage((string) $i, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]), '', $queue);
    }
    $doomed = connect();
    $other = $doomed->channel();
    $other->basic_qos(0, 1, false);
    equal(bodies(take($other, $queue, 1, false)), ['0'], 'first task');
    $doomed->close();
    $channel->basic_qos(0, 1, false);
    $got = [];
    $channel->basic_consume($queue, 'worker', false, false, false, false, function (AMQPMessage $m) use (&$got) {
        $got[] = $m->getBody() . ($m->isRedelivered() ? '!' : '');
        $m->ack();
    });
    while (count($got) < 10) {
        $channel->wait(null, false, 60);
    }
    equal($got, ['0!', '1', '2', '3', '4', '5', '6', '7', '8', '9'], 'tasks');
    $channel->basic_cancel('worker');
    equal($channel->queue_delete($queue), 0, 'messages left');
    $connection->close();
});

check('exchanges: fanout, direct, topic, headers', function () {
    $connection = connect();
    $channel = $connection->channel();
    $headers = new AMQPTable(['x-match' => 'all', 'n' => 1, 's' => 'v']);
    foreach (['fanout' => ['', 'x'], 'direct' => ['info', 'info'], 'topic' => ['*.critical.#', 'kern.critical.now'], 'headers' => ['', '']] as $kind => [$binding, $key]) {
        $exchange = name($kind);
        $channel->exchange_declare($exchange, $kind, false, false, true);
        [$queue] = $channel->queue_declare('', false, false, true);
        $channel->queue_bind($queue, $exchange, $binding, false, $kind === 'headers' ? $headers : []);
        $channel->basic_publish(new AMQPMessage('a', ['application_headers' => new AMQPTable(['n' => 1, 's' => 'v'])]), $exchange, $key);
        $channel->basic_publish(new AMQPMessage('b', ['application_headers' => new AMQPTable(['n' => 2])]), $exchange, 'elsewhere');
        $channel->basic_publish(new AMQPMessage('end'), '', $queue);
        $want = $kind === 'fanout' ? ['a', 'b', 'end'] : ['a', 'end'];
        equal(bodies(take($channel, $queue, count($want))), $want, "messages of $kind");
        $channel->queue_delete($queue);
    }
    $connection->close();
});

check('RPC by a queue of its own, and by direct reply-to', function () {
    $connection = connect();
    $server = $connection->channel();
    $server->queue_declare(name('rpc'), false, false, false, true);
    $server->basic_consume(name('rpc'), '', false, true, false, false, function (AMQPMessage $m) use ($server) {
        $answer = new AMQPMessage((string) ($m->getBody() * 2), ['correlation_id' => $m->get('correlation_id')]);
        $server->basic_publish($answer, '', $m->get('reply_to'));
    });
    $client = $connection->channel();
    [$own] = $client->queue_declare('', false, false, true);
    foreach ([$own, 'amq.rabbitmq.reply-to'] as $replyTo) {
        $got = [];
        $client->basic_consume($replyTo, '', false, true, false, false, function (AMQPMessage $m) use (&$got) {
            $got[] = [$m->get('correlation_id'), $m->getBody()];
        });
        $client->basic_publish(new AMQPMessage('21', ['reply_to' => $replyTo, 'correlation_id' => 'c1']), '', name('rpc'));
        while (!$got) {
            $server->wait(null, true);
            $client->wait(null, true);
        }
        equal($got, [['c1', '42']], "answer by $replyTo");
    }
    $connection->close();
});

check('publisher confirms, and returns before them', function () {
    $connection = connect();
    $channel = $connection->channel();
    $queue = name('confirms');
    $channel->queue_declare($queue, false, true, false, false);
    $acked = $nacked = 0;
    $returned = [];
    $channel->set_ack_handler(function () use (&$acked) {
        $acked++;
    });
    $channel->set_nack_handler(function () use (&$nacked) {
        $nacked++;
    });
    $channel->set_return_listener(function ($code, $text, $exchange, $key, AMQPMessage $m) use (&$returned, &$acked) {
        $returned[] = [$code, $text, $key, $m->getBody(), $acked];
    });
    $channel->confirm_select();
    for ($i = 0; $i < 1000; $i++) {
        $channel->basic_publish(new AMQPMessage("$i", ['delivery_mode' => 2]), '', $queue);
    }
    $channel->wait_for_pending_acks(20);
    equal([$acked, $nacked], [1000, 0], 'acked and nacked');
    $channel->basic_publish(new AMQPMessage('nowhere'), '', name('missing'), true);
    $channel->wait_for_pending_acks_returns(20);
    equal($returned, [[312, 'NO_ROUTE', name('missing'), 'nowhere', 1000]], 'returned');
    equal($channel->queue_purge($queue), 1000, 'purged');
    for ($i = 0; $i < 500; $i++) {
        $channel->batch_basic_publish(new AMQPMessage("$i"), '', $queue);
    }
    $channel->publish_batch();
    $channel->wait_for_pending_acks(20);
    equal($channel->queue_delete($queue), 500, 'messages of a batch');
    $connection->close();
});

check('rejected, expired and overflowing messages are dead-lettered', function () {
    $connection = connect();
    $channel = $connection->channel();
    $channel->exchange_declare(name('dead'), 'fanout', false, false, true);
    [$dead] = $channel->queue_declare('', false, false, true, false);
    $channel->queue_bind($dead, name('dead'));
    foreach (['rejected' => [], 'expired' => ['x-message-ttl' => 50], 'maxlen' => ['x-max-length' => 1]] as $reason => $arguments) {
        $queue = name($reason);
        $channel->queue_declare($queue, false, false, true, false, false, new AMQPTable($arguments + ['x-dead-letter-exchange' => name('dead')]));
        $channel->basic_publish(new AMQPMessage('first'), '', $queue);
        if ($reason === 'maxlen') {
            $channel->basic_publish(new AMQPMessage('second'), '', $queue);
        } elseif ($reason === 'rejected') {
            take($channel, $queue, 1, false)[0]->reject(false);
        }
        [$message] = take($channel, $dead, 1);
        $death = $message->get('application_headers')->getNativeData()['x-death'][0];
        equal([$message->getBody(), $death['reason'], $death['queue'], $death['count']], ['first', $reason, $queue, 1], "death of what was $reason");
    }
    $connection->close();
});

check('priorities, quorum queues, a queue that expires', function () {
    $connection = connect();
    $channel = $connection->channel();
    $channel->queue_declare(name('priorities'), false, false, true, false, false, new AMQPTable(['x-max-priority' => 10]));
    foreach ([0, 5, 9, 5] as $i => $priority) {
        $channel->basic_publish(new AMQPMessage("$i", ['priority' => $priority]), '', name('priorities'));
    }
    while ($channel->queue_declare(name('priorities'), true)[1] < 4) {
        usleep(20000);
    }
    equal(bodies(take($channel, name('priorities'), 4)), ['2', '1', '3', '0'], 'order');
    $channel->queue_declare(name('quorum'), false, true, false, false, false, new AMQPTable(['x-queue-type' => 'quorum', 'x-delivery-limit' => 1]));
    $channel->basic_publish(new AMQPMessage('x'), '', name('quorum'));
    [$first] = take($channel, name('quorum'), 1, false);
    $first->nack(true);
    [$second] = take($channel, name('quorum'), 1, false);
    equal($second->get('application_headers')->getNativeData()['x-delivery-count'], 1, 'x-delivery-count');
    $second->nack(true);
    usleep(100000);
    equal($channel->queue_delete(name('quorum')), 0, 'messages beyond the delivery limit');
    $channel->queue_declare(name('fleeting'), false, false, false, false, false, new AMQPTable(['x-expires' => 200]));
    for ($pause = 600000, $gone = false; !$gone; $pause *= 2) {
        usleep($pause); // a look at it would be a use
        try {
            $channel->queue_declare(name('fleeting'), true);
            equal($pause < 5000000, true, 'the queue goes when it has expired');
        } catch (AMQPProtocolChannelException $e) {
            equal($e->amqp_reply_code, 404, 'code');
            $gone = true;
        }
    }
    $connection->close();
});

check('properties and headers come back as sent', function () {
    $connection = connect();
    $channel = $connection->channel();
    [$queue] = $channel->queue_declare('', false, false, true, false);
    $headers = ['text' => 'żółć', 'n' => 5, 'big' => 2 ** 40, 'negative' => -7, 'yes' => true, 'none' => null, 'list' => [1, 'two', [3]], 'map' => ['a' => ['b' => 'c']]];
    ksort($headers);
    $sent = ['content_type' => 'text/plain', 'content_encoding' => 'gzip', 'delivery_mode' => 2, 'priority' => 3, 'correlation_id' => 'c', 'reply_to' => 'r', 'expiration' => '60000', 'message_id' => 'm', 'timestamp' => 1700000001, 'type' => 't', 'user_id' => 'guest', 'app_id' => 'app'];
    foreach (['', "body \0 🐇", str_repeat('0123456789', 300000)] as $body) {
        $channel->basic_publish(new AMQPMessage($body, $sent + ['application_headers' => new AMQPTable($headers)]), '', $queue);
        [$message] = take($channel, $queue, 1);
        equal($message->getBody() === $body, true, 'the body is as it was');
        $got = $message->get_properties();
        $gotHeaders = $got['application_headers']->getNativeData(); // in an order that is the broker's own
        ksort($gotHeaders);
        equal($gotHeaders, $headers, 'headers');
        unset($got['application_headers']);
        ksort($got);
        ksort($sent);
        equal($got, $sent, 'properties');
    }
    $connection->close();
});

check('transactions', function () {
    $connection = connect();
    $channel = $connection->channel();
    $look = $connection->channel();
    $queue = name('tx');
    $channel->queue_declare($queue, false, false, true);
    $channel->tx_select();
    $channel->basic_publish(new AMQPMessage('lost'), '', $queue);
    $channel->tx_rollback();
    $channel->basic_publish(new AMQPMessage('kept'), '', $queue);
    usleep(100000);
    equal($look->queue_declare($queue, true)[1], 0, 'messages before the commit');
    $channel->tx_commit();
    equal(bodies(take($look, $queue, 1)), ['kept'], 'messages after the commit');
    $connection->close();
});

check('errors close the channel with a code, and the connection lives', function () {
    $connection = connect();
    $cases = [
        404 => fn ($ch) => $ch->queue_declare(name('missing'), true),
        403 => fn ($ch) => $ch->queue_declare('amq.mine'),
        406 => fn ($ch) => [$ch->queue_declare(name('e'), false, false, true), $ch->queue_declare(name('e'), false, false, true, false, false, new AMQPTable(['x-max-length' => 1]))],
    ];
    foreach ($cases as $code => $act) {
        try {
            $act($connection->channel());
            throw new Exception("no error $code");
        } catch (AMQPProtocolChannelException $e) {
            equal($e->amqp_reply_code, $code, 'code');
        }
    }
    equal($connection->isConnected(), true, 'the connection is open');
    $connection->close();
    try {
        connect('wrong');
    } catch (Exception $e) {
        equal(strpos($e->getMessage(), 'ACCESS_REFUSED') !== false, true, "a wrong password: {$e->getMessage()}");
        return;
    }
    throw new Exception('a wrong password is let in');
});

check('heartbeats keep a quiet connection', function () {
    $connection = new AMQPStreamConnection($GLOBALS['HOST'], (int) $GLOBALS['PORT'], 'guest', 'guest', '/', false, 'PLAIN', null, 'en_US', 5.0, 4.0, null, true, 1);
    $channel = $connection->channel();
    [$queue] = $channel->queue_declare('', false, false, true);
    $channel->basic_consume($queue, '', false, true, false, false, fn () => null);
    for ($end = microtime(true) + 3.2; microtime(true) < $end;) {
        try {
            $channel->wait(null, false, 0.4);
        } catch (AMQPTimeoutException $e) {
        }
        $connection->checkHeartBeat();
    }
    equal($channel->queue_declare($queue, true)[2], 1, 'consumers');
    $connection->close();
});

$failed = false;
foreach ($checks as $title => $run) {
    if (getenv('ONLY') && strpos($title, getenv('ONLY')) === false) {
        continue;
    }
    $start = microtime(true);
    try {
        $run();
        printf("PASS %s (%.1f s)\n", $title, microtime(true) - $start);
    } catch (Throwable $e) {
        $failed = true;
        printf("FAIL %s: %s: %s\n", $title, get_class($e), preg_replace('/\s+/', ' ', $e->getMessage()));
        fwrite(STDERR, $e->getTraceAsString() . "\n");
    }
}
exit($failed ? 1 : 0);
