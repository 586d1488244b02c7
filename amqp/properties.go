package amqp

import "github.com/leveret-mq/leveret/amqp/wire"

// What client code is told that it talks to. Clients choose their ways by these two, not by the capabilities:
// kombu, and so all of Celery, widens a running consumer's window by basic.qos with global only for RabbitMQ
// from 3.3 to before 4.0; others read the version as a tuple of numbers. We answer as 3.13 does, so that is
// what we say. docs/compatibility.md has the list.
const (
	spokenProduct = "RabbitMQ"
	spokenVersion = "3.13.7" // three numbers and nothing behind them: clients split it at the dots
)

// brokerName is who really answers, in a field of its own beside the version of this build.
const brokerName = "Leveret"

// announced are the capabilities; each is a promise that a test holds.
var announced = []string{
	"publisher_confirms", "exchange_exchange_bindings", "basic.nack", "consumer_cancel_notify",
	"connection.blocked", "consumer_priorities", "authentication_failure_close", "per_consumer_qos", "direct_reply_to",
}

func serverProperties(o *Options) wire.Table {
	var capabilities []byte
	for _, name := range announced {
		capabilities = wire.AppendTableBool(capabilities, name, true)
	}
	t := wire.AppendTableTable(nil, "capabilities", capabilities)
	t = wire.AppendTableString(t, "broker", brokerName)
	t = wire.AppendTableString(t, "broker_version", o.Version)
	t = wire.AppendTableString(t, "cluster_name", o.ClusterName)
	t = wire.AppendTableString(t, "copyright", "Copyright the Leveret authors")
	t = wire.AppendTableString(t, "information", "This is Leveret, not RabbitMQ. Licensed under the Apache License 2.0")
	t = wire.AppendTableString(t, "platform", "Go")
	t = wire.AppendTableString(t, "product", spokenProduct)
	return wire.AppendTableString(t, "version", spokenVersion)
}
