package broker

import (
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/leveret-mq/leveret/internal/field"
)

// Setting is one thing about a queue or topic that can be set: a line of the table
// in settingtable.go. Values are texts in the form of Kafka's configs; what an AMQP
// argument says is brought into that form first.
type Setting struct {
	Arg    string // argument of an AMQP declaration; "" if there is none
	Config string // config of a Kafka topic; "" if there is none
	Policy string // key of a policy; "" if there is none

	Type     SettingType
	Min, Max int64    // of a Whole
	Words    []string // of a Word or a List; of a Whole what it may be beside Min to Max; the one thing that a Flag may be
	Default  string   // what holds where neither a type of queue nor anybody else says something
	Live     Changer  // who may change it while the queue is there; 0: nobody

	// ClusterWide marks what Kafka 4 reports as the cluster's own choice and not as
	// the built-in default.
	ClusterWide bool

	Broker string // what Kafka calls it among the settings of a broker, where a topic's default is set; "" if it has no value there
	Unset  bool   // in Kafka that has no default of its own: one in hours has
	Doc    string // of a Config, a sentence or two for who asks what it is

	as    string        // the Kafka config that it is of a stream; "" if it is none
	age   bool          // the argument is written as an age, "7D"; the value is in milliseconds
	least time.Duration // of an age
	wrong string        // RabbitMQ's word for a VALUE that the argument does not take
	only  string        // of which queues it has an effect; "" is of all that may have it
	why   string        // why a config takes no other values, where Kafka does
	of    typeSet       // whose argument it is; of other types of queue it is refused
	obey  func(s *Settings, value string)

	merge    merging // what holds when both the declaration and a policy say something
	operator bool    // an operator policy may set it
	bars     typeSet // to queues of these types no policy applies that sets it, as on RabbitMQ
	word     string  // what RabbitMQ calls it when it refuses its value in a policy; "" is its key
}

// SettingType is how a setting's value is written.
type SettingType uint8

// The types.
const (
	Whole  SettingType = iota // a whole number from Min to Max
	Flag                      // true or false
	Word                      // one of Words
	List                      // any of Words, with commas between, or none
	Share                     // a number from 0 to 1
	Places                    // partition:broker pairs with commas between, or "*", or none
	Text                      // anything, behind a letter for its type
	Name                      // text that may be empty, behind a letter
)

// Changer says who may change a setting of a queue that is there.
type Changer uint8

// The ways to change a setting; more than one may be open.
const (
	ByConfig Changer = 1 << iota // AlterConfigs of a Kafka client
	ByPolicy                     // a policy of the virtual host: see settingpolicy.go
)

// settingNamed finds a line by one of its names.
func settingNamed(name string, which func(*Setting) string) *Setting {
	for _, t := range settingTable {
		if which(t) == name {
			return t
		}
	}
	return nil
}

func byArg(name string) *Setting {
	return settingNamed(name, func(t *Setting) string { return t.Arg })
}

// TopicSetting finds what Kafka clients call by that name, nil if there is no such setting.
func TopicSetting(config string) *Setting {
	t := settingNamed(config, func(t *Setting) string { return t.Config })
	if t == nil || config == "" {
		return nil
	}
	return t
}

// TopicSettings lists what Kafka clients can set, in the order of the names.
func TopicSettings() []*Setting {
	var out []*Setting
	for _, t := range settingTable {
		if t.Config != "" {
			out = append(out, t)
		}
	}
	slices.SortFunc(out, func(a, b *Setting) int { return strings.Compare(a.Config, b.Config) })
	return out
}

// config brings what a Kafka client sends for a config into the table's form, as Kafka does: without
// blanks around it or in a list, and true and false in any case.
func (t *Setting) config(value string) string {
	value = strings.TrimSpace(value)
	switch t.Type {
	case Flag:
		if lower := strings.ToLower(value); lower == "true" || lower == "false" {
			return lower
		}
	case List, Places:
		words := strings.Split(value, ",")
		for i := range words {
			words[i] = strings.TrimSpace(words[i])
		}
		return strings.Join(words, ",")
	case Whole:
		if n, err := strconv.ParseInt(value, 10, 64); err == nil {
			return strconv.FormatInt(n, 10)
		}
	}
	return value
}

// refuse says in Kafka's words what is wrong with a config's value, and why we take less
// than Kafka does; "" if nothing is wrong.
func (t *Setting) refuse(value string) string {
	wrong := t.check(value)
	if wrong != "" && t.why != "" {
		wrong += ": " + t.why
	}
	return wrong
}

// check says in Kafka's words what is wrong with a value, "" if nothing is.
func (t *Setting) check(value string) string {
	words := []string{value}
	switch t.Type {
	case Text, Name:
		return ""
	case Flag:
		if value != "true" && value != "false" {
			return "Expected value to be either true or false"
		}
		if len(t.Words) > 0 && !slices.Contains(t.Words, value) {
			return "Value must be " + t.Words[0]
		}
		return ""
	case Share:
		if f, err := strconv.ParseFloat(value, 64); err != nil {
			return "Not a number of type DOUBLE"
		} else if !(f >= 0 && f <= 1) {
			return "Value must be from 0 to 1"
		}
		return ""
	case Places:
		return checkPlaces(value)
	case List:
		if value == "" {
			return ""
		}
		words = strings.Split(value, ",") // nothing between two commas is a word, too, and none of them
		fallthrough
	case Word:
		for _, w := range words {
			if !slices.Contains(t.Words, w) {
				return "String must be one of: " + strings.Join(t.Words, ", ")
			}
		}
		return ""
	}
	n, err := strconv.ParseInt(value, 10, 64)
	switch {
	case err == nil && slices.Contains(t.Words, value): // beside the range
		return ""
	case err != nil && t.Max > 1<<31-1:
		return "Not a number of type LONG"
	case err != nil:
		return "Not a number of type INT"
	case n < t.Min:
		return fmt.Sprintf("Value must be at least %d", t.Min)
	case n > t.Max:
		return fmt.Sprintf("Value must be no more than %d", t.Max)
	}
	return ""
}

// within is the nearest value to an argument's that the config which it stands for takes, and
// that is a limit: 0 is one to RabbitMQ.
func (t *Setting) within(v string) string {
	return strconv.FormatInt(min(max(whole(v), t.Min, 1), t.Max), 10)
}

// checkPlaces is check for Places.
func checkPlaces(value string) string {
	if value == "*" {
		return ""
	}
	for _, place := range splitList(value) {
		partition, node, ok := strings.Cut(place, ":")
		_, err1 := strconv.ParseUint(partition, 10, 31)
		_, err2 := strconv.ParseUint(node, 10, 31)
		if !ok || err1 != nil || err2 != nil {
			return "must be the literal '*' or a list of replicas in the format partitionId:brokerId"
		}
	}
	return ""
}

// splitList is what a List holds.
func splitList(value string) []string {
	return slices.DeleteFunc(strings.Split(value, ","), func(w string) bool { return w == "" })
}

// argument brings the value of an AMQP argument into the table's form, or says in
// RabbitMQ's words what is wrong with it.
func (t *Setting) argument(f *field.Iterator) (value, wrong string) {
	unacceptable := "{unacceptable_type," + field.TypeName(f.Tag()) + "}"
	switch {
	case t.Type == Text: // RabbitMQ takes anything, and tells "1" from 1
		return string(rune(argKind(f))) + argValue(f), ""
	case t.Type == Flag:
		v, ok := f.Bool()
		if !ok {
			return "", unacceptable
		}
		return strconv.FormatBool(v), ""
	case t.Type == Whole && !t.age:
		n, ok := f.Int()
		if !ok {
			return "", `"expected integer, got ` + field.TypeName(f.Tag()) + `"`
		}
		return strconv.FormatInt(n, 10), t.outOfRange(n)
	case f.Text() == nil:
		return "", unacceptable
	case t.Type == Name:
		return string(rune(field.TagString)) + string(f.Text()), ""
	case t.age:
		d, ok := parseAge(string(f.Text()))
		if !ok || d < t.least {
			return "", t.wrong
		}
		return strconv.FormatInt(d.Milliseconds(), 10), ""
	}
	value = string(f.Text())
	if t.check(value) != "" {
		return "", t.wrongValue(value)
	}
	return value, ""
}

// outOfRange says what is wrong with a number, "" if nothing is.
func (t *Setting) outOfRange(n int64) string {
	switch {
	case n >= t.Min && n <= t.Max:
		return ""
	case n < 0:
		return fmt.Sprintf("{value_negative,%d}", n)
	case t.wrong != "":
		return t.wrongValue(strconv.FormatInt(n, 10))
	case n == 0:
		return "{value_zero,0}"
	}
	return fmt.Sprintf("{value_too_large,%d}", n)
}

// wrongValue is the setting's own word for a value that it does not take.
func (t *Setting) wrongValue(value string) string {
	return strings.ReplaceAll(t.wrong, "VALUE", value)
}

// argValue is any value as a text.
func argValue(f *field.Iterator) string {
	if text, ok := f.AppendValueText(nil); ok {
		return string(text)
	}
	return string(f.Raw())
}
