package broker

import "strings"

// merging says which of two that say something of a setting is obeyed.
//
//	                lesserFirst   argumentFirst   policyFirst
//	declared only   declared      declared        declared
//	policy only     policy        policy          policy
//	both            the lesser    declared        policy
//
// A number below 0 is no limit, and greater than any.
type merging uint8

const (
	argumentFirst merging = iota // what was declared
	lesserFirst                  // the narrower limit
	policyFirst                  // the policy
)

// merging is how the setting is merged for a type of queue: in streams a policy holds over
// arguments, and in quorum queues over what they do when they are full, as on RabbitMQ. What a
// Kafka client sets of a topic is as an argument is of a work queue.
func (t *Setting) merging(kind *queueType) merging {
	switch {
	case kind == stream && t.Arg != argConsumerTimeout, kind == quorum && t.Arg == argOverflow:
		return policyFirst
	}
	return t.merge
}

// either is what holds of what two say; who did not says it FromDefault.
func either(how merging, mine string, my SettingSource, theirs string, their SettingSource) (string, SettingSource) {
	switch {
	case their == FromDefault:
		return mine, my
	case my == FromDefault, how == policyFirst, how == lesserFirst && less(theirs, mine):
		return theirs, their
	}
	return mine, my
}

// less compares limits.
func less(a, b string) bool {
	x, y := number(a), number(b)
	return x >= 0 && (y < 0 || x < y)
}

// number is the number of a Whole or, behind its letter, of a Text.
func number(v string) int64 {
	return whole(strings.TrimLeft(v, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"))
}
