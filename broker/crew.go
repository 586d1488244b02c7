package broker

// crew is what goroutines that come when there is work have to do: logs, of which each has
// its turn. Whose crew it is guards it with a mutex.
type crew struct {
	list    []*Partition
	working int // goroutines
}

// enlist puts a log behind the others. It says whether one more goroutine is to come for it,
// of so many at most.
func (c *crew) enlist(p *Partition, most int) (come bool) {
	c.list = append(c.list, p)
	if come = c.working < most; come {
		c.working++
	}
	return come
}

// next is the log whose turn comes, for a goroutine that is there. With nil, when nothing is
// left or the work is over, it goes.
func (c *crew) next(over bool) *Partition {
	if len(c.list) == 0 || over {
		c.working--
		return nil
	}
	p := c.list[0]
	c.list = c.list[1:]
	if len(c.list) == 0 {
		c.list = nil
	}
	return p
}
