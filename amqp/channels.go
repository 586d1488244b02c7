package amqp

// lowChannels is how many channel numbers are found by index; clients count from 1, so that is all there are as
// a rule. The memory of the index follows the highest of them that was used.
const lowChannels = 2048

// channelTable is the open channels of a connection by number. Which numbers it uses is the client's choice:
// channel_max bounds how many are open at a time, not how high they are numbered. The read loop changes it, under
// conn.outMu, for those who look from elsewhere.
type channelTable struct {
	low  []*channel
	high map[uint16]*channel
	open int
}

// get finds a channel; nil if it is not open.
func (t *channelTable) get(number uint16) *channel {
	if int(number) < len(t.low) {
		return t.low[number]
	}
	if t.high == nil {
		return nil
	}
	return t.high[number]
}

// add takes in a channel whose number is free.
func (t *channelTable) add(ch *channel) {
	t.open++
	if ch.number >= lowChannels {
		if t.high == nil {
			t.high = map[uint16]*channel{}
		}
		t.high[ch.number] = ch
		return
	}
	if n := int(ch.number) + 1; n > len(t.low) {
		t.low = append(t.low, make([]*channel, n-len(t.low))...)
	}
	t.low[ch.number] = ch
}

// remove frees the channel's number.
func (t *channelTable) remove(ch *channel) {
	t.open--
	if ch.number >= lowChannels {
		delete(t.high, ch.number)
		return
	}
	t.low[ch.number] = nil
}

// each calls f for every open channel.
func (t *channelTable) each(f func(*channel)) {
	for _, ch := range t.low {
		if ch != nil {
			f(ch)
		}
	}
	for _, ch := range t.high {
		f(ch)
	}
}
