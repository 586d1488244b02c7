package broker

// What whoever looks at a queue or an exchange is told of it: who shows it asks Session.May, or whether the user may look at everything.

// Type is what the queue's type is called in x-queue-type; what a Kafka client has made is a stream.
func (q *Queue) Type() string {
	if k := q.Settings().kind; k != topic {
		return k.name
	}
	return stream.name
}

// Predeclared says that the exchange is there in every virtual host.
func (x *Exchange) Predeclared() bool { return x.predeclared }

// BindingsTo lists the bindings that lead to a queue, but for the one that every queue has.
func (v *VHost) BindingsTo(q *Queue) []Binding { return v.bindingsIn(&q.incoming) }

// BindingsToExchange lists the bindings that lead to an exchange.
func (v *VHost) BindingsToExchange(x *Exchange) []Binding { return v.bindingsIn(&x.incoming) }

func (v *VHost) bindingsIn(l *boundList) (out []Binding) {
	v.mu.Lock()
	defer v.mu.Unlock()
	for b := range l.all() {
		out = append(out, b.def.exported())
	}
	return out
}
