# bunny, Ruby's client: what its guides show, and what a broker must answer to it.
require 'bunny'
require 'timeout'
require 'securerandom'

HOST, PORT = (ENV['AMQP_ADDR'] || '127.0.0.1:5672').split(':')
RUN = SecureRandom.hex(4)
ONLY = ENV['ONLY'] || ''
$stdout.sync = true
$failed = false

def name(what)
  "interop.bunny.#{what}.#{RUN}"
end

def equal(got, want, what)
  raise "#{what}: got #{got.inspect[0, 300]}, want #{want.inspect[0, 300]}" unless got == want
end

def wait_for(what, seconds = 30)
  limit = Time.now + seconds
  until (result = yield)
    raise "#{what}: not within #{seconds} s" if Time.now > limit

    sleep 0.02
  end
  result
end

def connect(options = {})
  Bunny.new({ host: HOST, port: PORT.to_i, user: 'guest', pass: 'guest', log_level: :fatal }.merge(options)).tap(&:start)
end

def check(title, limit = 100)
  return unless title.include?(ONLY)

  start = Time.now
  connection = connect
  begin
    Timeout.timeout(limit) { yield connection }
    puts "PASS #{title} (#{(Time.now - start).round(1)} s)"
  rescue Exception => e # a check may fail in any way; the next one still runs
    $failed = true
    puts "FAIL #{title}: #{e.class}: #{e.message.split.join(' ')}"
    warn e.backtrace.first(8).join("\n")
  ensure
    connection.close if connection.open?
  end
end

check 'hello world' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('hello'), auto_delete: true)
  channel.default_exchange.publish('Hello!', routing_key: queue.name)
  delivery, properties, body = wait_for('a message') { (got = queue.pop)[2] && got }
  equal([delivery.redelivered?, properties[:content_type], body], [false, 'application/octet-stream', 'Hello!'], 'message')
end

check 'work queues: acks, prefetch, a worker that goes' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('tasks'), durable: true)
  10.times { |i| queue.publish(i.to_s, persistent: true) }
  doomed = connect
  taken = Queue.new
  other = doomed.create_channel
  other.prefetch(1)
  other.queue(queue.name, durable: true).subscribe(manual_ack: true) { |_, _, body| taken << body }
  equal(taken.pop, '0', 'first task')
  doomed.close
  done = Queue.new
  channel.prefetch(1)
  consumer = queue.subscribe(manual_ack: true) do |delivery, properties, body|
    done << [body, delivery.redelivered?, properties.delivery_mode]
    channel.ack(delivery.delivery_tag)
  end
  equal(Array.new(10) { done.pop }, Array.new(10) { |i| [i.to_s, i.zero?, 2] }, 'tasks')
  consumer.cancel
  queue.delete
end

check 'exchanges: fanout, direct, topic, headers' do |connection|
  channel = connection.create_channel
  routes = {
    fanout: [{ routing_key: '' }, { routing_key: 'x' }, %w[a b]],
    direct: [{ routing_key: 'info' }, { routing_key: 'info' }, %w[a]],
    topic: [{ routing_key: '*.critical.#' }, { routing_key: 'kern.critical.now' }, %w[a]],
    headers: [{ arguments: { 'x-match' => 'all', 'n' => 1, 's' => 'v' } }, { headers: { 'n' => 1, 's' => 'v' } }, %w[a]]
  }
  routes.each do |kind, (binding, publish, want)|
    exchange = channel.send(kind, name(kind), auto_delete: true)
    queue = channel.queue('', exclusive: true).bind(exchange, binding)
    exchange.publish('a', publish)
    exchange.publish('b', routing_key: 'elsewhere')
    got = []
    wait_for("#{kind}'s messages") { (body = queue.pop[2]) && got << body; got.size >= want.size }
    sleep 0.05
    equal([got, queue.message_count], [want, 0], "messages of #{kind}")
    queue.delete
  end
end

check 'RPC by a queue of its own, and by direct reply-to' do |connection|
  server = connection.create_channel
  requests = server.queue(name('rpc'), auto_delete: true)
  requests.subscribe do |_, properties, body|
    server.default_exchange.publish((body.to_i * 2).to_s, routing_key: properties.reply_to, correlation_id: properties.correlation_id)
  end
  client = connection.create_channel
  [client.queue('', exclusive: true).name, 'amq.rabbitmq.reply-to'].each do |reply_to|
    answers = Queue.new
    client.basic_consume(reply_to, "for-#{reply_to}", true) { |_, properties, body| answers << [properties.correlation_id, body] }
    client.default_exchange.publish('21', routing_key: requests.name, reply_to: reply_to, correlation_id: 'c1')
    equal(answers.pop, %w[c1 42], "answer by #{reply_to}")
  end
end

check 'publisher confirms: one by one, in a batch, by callback' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('confirms'), durable: true)
  seen = 0
  channel.confirm_select(lambda { |tag, multiple, nack|
    raise 'nacked' if nack

    seen = [seen, tag].max
  })
  20.times do
    queue.publish('one', persistent: true)
    equal(channel.wait_for_confirms, true, 'confirms')
  end
  1000.times { queue.publish('many', persistent: true) }
  equal(channel.wait_for_confirms, true, 'confirms of a batch')
  equal([channel.unconfirmed_set.size, channel.nacked_set.size, seen], [0, 0, 1020], 'unconfirmed, nacked, last')
  equal(queue.message_count, 1020, 'messages')
  equal(queue.purge && queue.message_count, 0, 'messages after a purge')
  queue.delete
end

check 'mandatory messages come back' do |connection|
  channel = connection.create_channel
  exchange = channel.direct(name('mandatory'), auto_delete: true)
  returned = Queue.new
  exchange.on_return { |info, properties, body| returned << [info.reply_code, info.reply_text, properties[:message_id], body] }
  exchange.publish('nowhere', routing_key: 'none', mandatory: true, message_id: 'm1')
  equal(returned.pop, [312, 'NO_ROUTE', 'm1', 'nowhere'], 'return')
  exchange.delete
end

check 'rejected, expired and overflowing messages are dead-lettered' do |connection|
  channel = connection.create_channel
  dead_exchange = channel.fanout(name('dead'), auto_delete: true)
  dead = channel.queue('', exclusive: true).bind(dead_exchange)
  common = { 'x-dead-letter-exchange' => dead_exchange.name }
  { 'rejected' => {}, 'expired' => { 'x-message-ttl' => 50 }, 'maxlen' => { 'x-max-length' => 1 } }.each do |reason, arguments|
    queue = channel.queue(name(reason), exclusive: true, arguments: common.merge(arguments))
    queue.publish('first')
    queue.publish('second') if reason == 'maxlen'
    if reason == 'rejected'
      delivery, = wait_for('a message') { (got = queue.pop(manual_ack: true))[2] && got }
      channel.reject(delivery.delivery_tag, false)
    end
    _, properties, body = wait_for("what was #{reason}") { (got = dead.pop)[2] && got }
    death = properties.headers['x-death'].first
    equal([body, death['reason'], death['queue'], death['count']], ['first', reason, queue.name, 1], "death of what was #{reason}")
  end
end

check 'priorities, and a queue that expires' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('priorities'), exclusive: true, arguments: { 'x-max-priority' => 10 })
  [0, 5, 9, 5].each_with_index { |priority, i| queue.publish(i.to_s, priority: priority) }
  wait_for('four messages') { queue.message_count == 4 }
  equal(Array.new(4) { queue.pop[2] }, %w[2 1 3 0], 'order')
  fleeting = channel.queue(name('fleeting'), arguments: { 'x-expires' => 200 })
  pauses = [0.6, 1, 2, 4, 8].each
  begin
    sleep pauses.next # a look at it would be a use
  end while connection.queue_exists?(fleeting.name)
end

check 'properties and headers come back as sent' do |connection|
  channel = connection.create_channel
  queue = channel.queue('', exclusive: true)
  headers = { 'text' => 'żółć'.b, 'n' => 5, 'big' => 2**40, 'negative' => -7, 'yes' => true, 'float' => 1.5, 'list' => [1, 'two', { 'x' => 3 }], 'map' => { 'a' => { 'b' => 'c' } }, 'time' => Time.at(1_700_000_000) }
  sent = { content_type: 'text/plain', content_encoding: 'gzip', priority: 3, correlation_id: 'c', reply_to: 'r', expiration: '60000', message_id: 'm', timestamp: 1_700_000_001, type: 't', user_id: 'guest', app_id: 'app' }
  queue.publish("body \u0000\u{1F407}", sent.merge(headers: headers, persistent: true))
  _, properties, body = wait_for('a message') { (got = queue.pop)[2] && got }
  equal(body.dup.force_encoding('UTF-8'), "body \u0000\u{1F407}", 'body')
  equal(properties.to_hash.slice(*sent.keys), sent.merge(timestamp: Time.at(1_700_000_001)), 'properties')
  equal(properties[:delivery_mode], 2, 'delivery mode')
  equal(properties.headers, headers, 'headers')
end

check 'transactions' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('tx'), auto_delete: true)
  look = connection.create_channel.queue(queue.name, auto_delete: true)
  channel.tx_select
  queue.publish('lost')
  channel.tx_rollback
  queue.publish('kept')
  sleep 0.1
  equal(look.message_count, 0, 'messages before the commit')
  channel.tx_commit
  equal([look.message_count, look.pop[2]], [1, 'kept'], 'messages after the commit')
end

check 'exchange to exchange, alternate exchange' do |connection|
  channel = connection.create_channel
  unrouted = channel.fanout(name('unrouted'), auto_delete: true)
  source = channel.direct(name('source'), arguments: { 'alternate-exchange' => unrouted.name })
  target = channel.topic(name('target'), auto_delete: true)
  target.bind(source, routing_key: 'a')
  bound = channel.queue('', exclusive: true).bind(target, routing_key: '#')
  other = channel.queue('', exclusive: true).bind(unrouted)
  source.publish('bound', routing_key: 'a').publish('not bound', routing_key: 'b')
  wait_for('both') { bound.message_count == 1 && other.message_count == 1 }
  equal([bound.pop[2], other.pop[2]], ['bound', 'not bound'], 'messages')
  source.delete
end

check 'errors close the channel with a code, and the connection lives' do |connection|
  {
    Bunny::NotFound => ->(ch) { ch.queue_declare(name('missing'), passive: true) },
    Bunny::PreconditionFailed => lambda { |ch|
      ch.queue_declare(name('declared'), exclusive: true)
      ch.queue_declare(name('declared'), exclusive: true, arguments: { 'x-max-length' => 1 })
    },
    Bunny::AccessRefused => ->(ch) { ch.queue_declare('amq.mine') }
  }.each do |error, act|
    begin
      act.call(connection.create_channel)
      raise "no #{error}"
    rescue error => e
      equal(e.channel_close.reply_code, { Bunny::NotFound => 404, Bunny::PreconditionFailed => 406, Bunny::AccessRefused => 403 }[error], 'code')
    end
  end
  equal(connection.open?, true, 'the connection is open')
  begin
    connect(pass: 'wrong', recover_from_connection_close: false)
    raise 'a wrong password is let in'
  rescue Bunny::AuthenticationFailureError
  end
end

check 'consumers hear when their queue goes' do |connection|
  channel = connection.create_channel
  queue = channel.queue(name('going'))
  told = Queue.new
  consumer = Bunny::Consumer.new(channel, queue)
  consumer.on_cancellation { |cancel| told << cancel.consumer_tag }
  queue.subscribe_with(consumer)
  connection.create_channel.queue_delete(queue.name)
  equal(told.pop, consumer.consumer_tag, 'tag of the consumer that was told')
end

check 'a lost connection comes back with all it had', 60 do
  connection = connect(network_recovery_interval: 0.2, recovery_attempts: 20)
  channel = connection.create_channel
  exchange = channel.topic(name('recovered'), auto_delete: true)
  queue = channel.queue('', exclusive: true).bind(exchange, routing_key: 'k')
  got = Queue.new
  queue.subscribe { |_, _, body| got << body }
  exchange.publish('before', routing_key: 'k')
  equal(got.pop, 'before', 'message before')
  connection.transport.socket.shutdown
  sleep 0.5
  probe = connect
  wait_for('a message after') do
    probe.create_channel.tap { |ch| ch.topic(exchange.name, auto_delete: true).publish('after', routing_key: 'k') }.close
    sleep 0.1
    !got.empty?
  end
  equal(got.pop, 'after', 'message after')
  probe.close
  connection.close
end

exit!($failed ? 1 : 0)
