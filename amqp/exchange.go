package amqp

import (
	"strings"

	"github.com/leveret-mq/leveret/amqp/wire"
	"github.com/leveret-mq/leveret/broker"
)

// cleanName takes carriage returns and line feeds out of a name, as RabbitMQ does.
func cleanName(name string) string {
	if !strings.ContainsAny(name, "\r\n") {
		return name
	}
	return strings.NewReplacer("\r", "", "\n", "").Replace(name)
}

func (ch *channel) exchangeDeclare(m *wire.ExchangeDeclare) error {
	name := cleanName(m.Exchange)
	var err error
	switch {
	case m.Passive && name == "":
		err = refuse(wire.AccessRefused, "operation not permitted on the default exchange")
	case m.Passive:
		_, err = ch.c.session.Exchange(broker.Look, name)
	default:
		_, err = ch.c.session.DeclareExchange(name, broker.ExchangeOptions{
			Type: m.Type, Durable: m.Durable, AutoDelete: m.AutoDelete, Internal: m.Internal, Args: m.Arguments,
		})
	}
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.ExchangeDeclareOk{}))
}

func (ch *channel) exchangeDelete(m *wire.ExchangeDelete) error {
	if err := ch.c.session.DeleteExchange(cleanName(m.Exchange), m.IfUnused); err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.ExchangeDeleteOk{}))
}

func (ch *channel) exchangeBind(m *wire.ExchangeBind) error {
	err := ch.c.session.Bind(broker.Binding{
		Source: cleanName(m.Source), Dest: cleanName(m.Destination), ToExchange: true, Key: m.RoutingKey, Args: m.Arguments,
	})
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.ExchangeBindOk{}))
}

func (ch *channel) exchangeUnbind(m *wire.ExchangeUnbind) error {
	err := ch.c.session.Unbind(broker.Binding{
		Source: cleanName(m.Source), Dest: cleanName(m.Destination), ToExchange: true, Key: m.RoutingKey, Args: m.Arguments,
	})
	if err != nil {
		return err
	}
	return ch.reply(answer(m.NoWait, &wire.ExchangeUnbindOk{}))
}
