package kafka

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/kafka/wire"
)

// softwareName is what KIP-511 allows a client to call itself.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// Key 18, ApiVersions, versions 0 to 3. No features are told, so that clients
// use the older, explicit protocols.
func (c *conn) apiVersions(r *kmsg.ApiVersionsRequest) kmsg.Response {
	res := kmsg.NewPtrApiVersionsResponse()
	if r.Version >= 3 && (!softwareName.MatchString(r.ClientSoftwareName) || !softwareName.MatchString(r.ClientSoftwareVersion)) {
		res.ErrorCode = int16(wire.InvalidRequest)
		return res
	}
	if r.Version >= 3 {
		c.introduceSoftware(r.ClientSoftwareName, r.ClientSoftwareVersion)
	}
	for _, s := range wire.Supported {
		res.ApiKeys = append(res.ApiKeys, advertised(s))
	}
	return res
}

func advertised(s wire.Support) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = int16(s.Key), s.Min, s.Max
	return k
}

// answerOldAPIVersions answers a version of ApiVersions that is newer than
// ours: in the oldest shape, error 35 and the versions of this key alone, so
// that the client asks again. Clients that get anything else wait for ever.
func (c *conn) answerOldAPIVersions(h wire.Header) error {
	if err := c.out.drain(); err != nil {
		return err
	}
	res := kmsg.NewPtrApiVersionsResponse()
	res.ErrorCode = int16(wire.UnsupportedVersion)
	res.ApiKeys = append(res.ApiKeys, advertised(*wire.Lookup(wire.APIVersions)))
	h.Version = 0
	return c.out.add(wire.Finish(res.AppendTo(wire.AppendResponseHeader(nil, h)), 0, 0))
}
