package broker

// Pulse returns when the locks that every verb needs could be had: at once, unless
// something holds one for good. They are never held over a disk or a client, so that
// one who waits long for it has found a fault of the program.
func (b *Broker) Pulse() {
	for _, v := range b.VHosts() { // takes Broker.mu
		v.mu.Lock()
		_ = v.claims
		v.mu.Unlock()
	}
	b.ConnectionCounts()
}
