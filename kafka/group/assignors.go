package group

import (
	"cmp"
	"slices"
	"strings"
)

// An assignor decides which member is to have which partition. It is given the members in order of join, and is to fill in
// their targets.
type assignor func(topics map[string]TopicInfo, members []*assignee)

// assignee is a member as an assignor sees it.
type assignee struct {
	id, instance string
	topics       []string   // that it reads and that are there, sorted
	had          Partitions // its last target
	target       map[TopicID][]int32
	n            int // in target
}

func (a *assignee) give(id TopicID, partition int32) {
	a.target[id] = append(a.target[id], partition)
	a.n++
}

// The assignors of consumer groups, by the names that clients ask for. The first is that of members who ask for none.
var assignors = []struct {
	name   string
	assign assignor
}{{"uniform", uniform}, {"range", ranges}}

func assignorOf(name string) assignor {
	for _, a := range assignors {
		if a.name == name {
			return a.assign
		}
	}
	return nil
}

// AssignorNames are the names of the assignors there are, the default first.
func AssignorNames() []string {
	var out []string
	for _, a := range assignors {
		out = append(out, a.name)
	}
	return out
}

// readers are the members of each topic, in the order in which they are served: those with an instance id first, by it, so
// that a process that comes back finds its partitions.
func readers(members []*assignee) map[string][]*assignee {
	sorted := slices.SortedFunc(slices.Values(members), func(a, b *assignee) int {
		if (a.instance == "") != (b.instance == "") {
			return cmp.Compare(b.instance, a.instance)
		}
		return cmp.Or(strings.Compare(a.instance, b.instance), strings.Compare(a.id, b.id))
	})
	by := map[string][]*assignee{}
	for _, m := range sorted {
		for _, t := range m.topics {
			by[t] = append(by[t], m)
		}
	}
	return by
}

// ranges gives each reader of a topic a run of its partitions: those of the same number in topics with the same readers go to
// the same member.
func ranges(topics map[string]TopicInfo, members []*assignee) {
	for name, of := range readers(members) {
		t := topics[name]
		n, more := t.Partitions/len(of), t.Partitions%len(of)
		next := int32(0)
		for i, m := range of {
			count := n
			if i < more {
				count++
			}
			for range count {
				m.give(t.ID, next)
				next++
			}
		}
	}
}

// uniform gives every member as many partitions as any other, as far as they read the same, and moves as few as that takes.
func uniform(topics map[string]TopicInfo, members []*assignee) {
	by := readers(members)
	total := 0
	for name := range by {
		total += topics[name].Partitions
	}
	u := spread{topics: topics, by: by, quota: total, steps: maxSpreadSteps}
	same := alike(members)
	if same && len(members) > 0 {
		u.quota = total / len(members)
		u.more = total % len(members)
	}
	u.keep(members)
	u.place()
	if !same { // else they are equal by now
		u.level()
	}
	u.write()
}

// alike says whether all read the same topics.
func alike(members []*assignee) bool {
	for _, m := range members {
		if !slices.Equal(m.topics, members[0].topics) {
			return false
		}
	}
	return true
}

// spread is one assignment of uniform under way.
type spread struct {
	topics map[string]TopicInfo
	by     map[string][]*assignee
	quota  int // that members keep of what they had, and
	more   int // how many of them keep one more
	steps  int // left for what only makes it better

	owner map[string][]*assignee
}

// maxSpreadSteps bounds how long members that read different topics are made equal.
const maxSpreadSteps = 20_000_000

// keep leaves members what they had, up to their quota.
func (u *spread) keep(members []*assignee) {
	u.owner = make(map[string][]*assignee, len(u.by))
	for name := range u.by {
		u.owner[name] = make([]*assignee, u.topics[name].Partitions)
	}
	for _, m := range members {
		room := u.quota
		if u.more > 0 && m.had.Count() > u.quota {
			room++
			u.more--
		}
		for _, name := range m.topics {
			owner := u.owner[name]
			for _, p := range m.had[u.topics[name].ID] {
				if room > 0 && int(p) < len(owner) && owner[p] == nil {
					owner[p] = m
					m.n++
					room--
				}
			}
		}
	}
}

// place gives what nobody has to who has least, topics with few readers first.
func (u *spread) place() {
	names := u.names()
	slices.SortStableFunc(names, func(a, b string) int { return cmp.Compare(len(u.by[a]), len(u.by[b])) })
	for _, name := range names {
		heap := slices.Clone(u.by[name])
		slices.SortStableFunc(heap, func(a, b *assignee) int { return cmp.Compare(a.n, b.n) })
		for p, m := range u.owner[name] {
			if m != nil {
				continue
			}
			least := heap[0]
			u.owner[name][p] = least
			least.n++
			sink(heap)
		}
	}
}

// sink brings a sorted list back into order whose first has one more, as the head of a heap.
func sink(heap []*assignee) {
	for i := 0; ; {
		least := i
		for _, child := range [2]int{2*i + 1, 2*i + 2} {
			if child < len(heap) && heap[child].n < heap[least].n {
				least = child
			}
		}
		if least == i {
			return
		}
		heap[i], heap[least] = heap[least], heap[i]
		i = least
	}
}

// level moves partitions to members that have two less, until there are none or it takes too long.
func (u *spread) level() {
	names := u.names()
	for moved := true; moved && u.steps > 0; {
		moved = false
		for _, name := range names {
			of := u.by[name]
			for p, m := range u.owner[name] {
				least, most := of[0], m
				for _, x := range of {
					if x.n < least.n {
						least = x
					}
				}
				u.steps -= len(of)
				if least.n+1 < most.n {
					u.owner[name][p] = least
					least.n++
					most.n--
					moved = true
				}
				if u.steps <= 0 {
					break
				}
			}
		}
	}
}

// write makes targets of it.
func (u *spread) write() {
	for _, name := range u.names() {
		id := u.topics[name].ID
		for p, m := range u.owner[name] {
			m.target[id] = append(m.target[id], int32(p))
		}
	}
}

func (u *spread) names() []string {
	out := make([]string, 0, len(u.by))
	for name := range u.by {
		out = append(out, name)
	}
	slices.Sort(out)
	return out
}

// simple is the one assignor of share groups: every partition has readers, members have about as many, and no more of them
// read one than that takes.
func simple(topics map[string]TopicInfo, members []*assignee) {
	for name, of := range readers(members) {
		t := topics[name]
		for i := range max(t.Partitions, len(of)) {
			if t.Partitions > 0 {
				of[i%len(of)].give(t.ID, int32(i%t.Partitions))
			}
		}
	}
}
