package definitions

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/internal/audit"
)

// putLimits sets the limits of virtual hosts.
func (p *Plan) putLimits(by audit.Actor) error {
	for _, l := range p.limits {
		v, err := p.t.Broker.VHost(l.vhost)
		if err == nil && maps.Equal(v.Limits(), l.limits) {
			continue
		}
		if err == nil {
			err = p.t.Broker.SetVHostLimits(by, l.vhost, l.limits)
		}
		if err != nil {
			return p.f.failed(l.item, err, l.keys...)
		}
	}
	return nil
}

// encode writes JSON as it stands in the file.
func encode(v any) (json.RawMessage, error) {
	var b strings.Builder
	e := json.NewEncoder(&b)
	e.SetEscapeHTML(false)
	err := e.Encode(v)
	return json.RawMessage(strings.TrimSuffix(b.String(), "\n")), err
}

// sameMeta says whether two virtual hosts are said to be the same.
func sameMeta(a, b broker.VHostMeta) bool {
	return a.Description == b.Description && a.DefaultQueueType == b.DefaultQueueType && a.Protected == b.Protected && slices.Equal(a.Tags, b.Tags)
}
