# stomp, Ruby's client: the calls of its examples, in each version of the protocol, over Stomp::Client and Stomp::Connection.
require 'stomp'
require 'timeout'
require 'securerandom'

HOST, PORT = (ENV['STOMP_ADDR'] || '127.0.0.1:61613').split(':')
RUN = SecureRandom.hex(4)
ONLY = ENV['ONLY'] || ''
$stdout.sync = true
$failed = false

def name(what)
  "/queue/interop.ruby.#{what}.#{RUN}"
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

def settings(version, more = {})
  { hosts: [{ login: 'guest', passcode: 'guest', host: HOST, port: PORT.to_i, ssl: false }], reliable: false, logger: nil,
    connect_headers: { 'accept-version' => version, 'host' => '/' } }.merge(more)
end

def check(title, limit = 100)
  return unless title.include?(ONLY)

  start = Time.now
  begin
    Timeout.timeout(limit) { yield }
    puts "PASS #{title} (#{(Time.now - start).round(1)} s)"
  rescue Exception => e # a check may fail in any way; the next one still runs
    $failed = true
    puts "FAIL #{title}: #{e.class}: #{e.message.split.join(' ')}"
    warn e.backtrace.first(8).join("\n")
  end
end

%w[1.0 1.1 1.2].each do |version|
  check "send, subscribe, receipts, STOMP #{version}" do
    c = Stomp::Client.new(settings(version))
    equal(c.protocol, version, 'the version')
    queue, got, receipt = name("hello.#{version}"), [], nil
    c.subscribe(queue, { 'id' => 's', 'ack' => 'auto' }) { |m| got << m }
    c.publish(queue, "grüße\0und mehr", { 'persistent' => true, 'color' => version == '1.0' ? 'x' : "a:b\\ \nd" }) { |r| receipt = r }
    wait_for('the message and the receipt') { got.size == 1 && receipt }
    equal([got[0].body.dup.force_encoding('UTF-8'), got[0].headers['color'], got[0].headers['persistent'], receipt.command],
          ["grüße\0und mehr", version == '1.0' ? 'x' : "a:b\\ \nd", 'true', 'RECEIPT'], 'message')
    c.unsubscribe(queue, { 'id' => 's' })
    c.close
  end

  check "acks, redelivery, transactions, STOMP #{version}" do
    queue = name("work.#{version}")
    c = Stomp::Connection.new(settings(version))
    3.times { |i| c.publish(queue, i.to_s) }
    c.subscribe(queue, { 'id' => 's', 'ack' => 'client', 'prefetch-count' => '3' })
    held = Array.new(3) { c.receive }
    equal(held.map(&:body), %w[0 1 2], 'messages')
    id = version == '1.2' ? held[1].headers['ack'] : held[1].headers['message-id']
    c.ack(id, { 'id' => 's', 'subscription' => 's' }.reject { |k, _| version == '1.0' || version == '1.2' && k == 'subscription' }.merge(version == '1.2' ? { 'id' => id } : {}))
    c.disconnect(receipt: 'bye')
    c = Stomp::Connection.new(settings(version))
    c.subscribe(queue, { 'id' => 's', 'ack' => 'auto' })
    last = c.receive
    equal([last.body, last.headers['redelivered']], %w[2 true], 'what was not acked')
    c.begin('kept')
    c.begin('dropped')
    c.publish(queue, 'kept', { 'transaction' => 'kept' })
    c.publish(queue, 'dropped', { 'transaction' => 'dropped' })
    c.abort('dropped')
    c.commit('kept')
    equal(c.receive.body, 'kept', 'message of the transaction')
    c.disconnect
  end
end

check 'a listener that fails sends it back' do
  queue = name('nack')
  c = Stomp::Connection.new(settings('1.2'))
  c.publish(queue, 'work')
  c.subscribe(queue, { 'id' => 's', 'ack' => 'client-individual' })
  first = c.receive
  c.nack(first.headers['ack'], { 'id' => first.headers['ack'] })
  again = c.receive
  equal([again.body, again.headers['redelivered']], %w[work true], 'again')
  c.ack(again.headers['ack'], { 'id' => again.headers['ack'] })
  c.disconnect
end

check 'heart-beats' do
  c = Stomp::Connection.new(settings('1.2', connect_headers: { 'accept-version' => '1.2', 'host' => '/', 'heart-beat' => '500,500' }))
  wait_for('beats') { c.hbsend_count > 2 && c.hbrecv_count > 2 }
  c.publish(name('beats'), 'x')
  equal([c.hbsend_count > 2, c.hbrecv_count > 2, c.open?], [true, true, true], 'beats sent, received, still open')
  c.disconnect
end

check 'a wrong password' do
  wrong = settings('1.1')
  wrong[:hosts][0][:passcode] = 'wrong'
  begin
    c = Stomp::Connection.new(wrong)
    raise "let in: #{c.connection_frame}" unless c.connection_frame.command == 'ERROR'
  rescue Stomp::Error::StompServerError, Stomp::Error::ConnectReadTimeout, Stomp::Error::MaxReconnectAttempts => e
    warn e.class
  end
end

exit($failed ? 1 : 0)
