package kafka

import (
	"regexp"

	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/leveret-mq/leveret/broker"
	"github.com/leveret-mq/leveret/kafka/wire"
)

// softwareName is what KIP-511 allows a client to call itself.
var softwareName = regexp.MustCompile(`^[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?$`)

// Key 18, ApiVersions, versions 0 to 5, with the features that clients look for. From version 5 on a client says whom it takes
// us for.
func (c *conn) apiVersions(r *kmsg.ApiVersionsRequest) kmsg.Response {
	res := kmsg.NewPtrApiVersionsResponse()
	if r.Version >= 3 && (!softwareName.MatchString(r.ClientSoftwareName) || !softwareName.MatchString(r.ClientSoftwareVersion)) {
		res.ErrorCode = int16(wire.InvalidRequest)
		return res
	}
	if r.Version >= 5 {
		switch {
		case (r.ClusterID == nil) != (r.NodeID == -1):
			res.ErrorCode = int16(wire.InvalidRequest)
			return res
		case r.ClusterID != nil && (*r.ClusterID != c.s.broker.ClusterID() || r.NodeID != NodeID):
			res.ErrorCode = int16(wire.RebootstrapRequired)
			return res
		}
	}
	if r.Version >= 3 {
		c.introduceSoftware(r.ClientSoftwareName, r.ClientSoftwareVersion)
	}
	for _, s := range wire.Supported {
		res.ApiKeys = append(res.ApiKeys, advertised(s))
	}
	for _, f := range features {
		final := kmsg.NewApiVersionsResponseFinalizedFeature()
		final.Name, final.MinVersionLevel, final.MaxVersionLevel = f.name, f.level, f.level
		res.FinalizedFeatures = append(res.FinalizedFeatures, final)
		if r.Version == 3 {
			continue // whose clients do not take 0 for the least level (KAFKA-17011)
		}
		supported := kmsg.NewApiVersionsResponseSupportedFeature()
		supported.Name, supported.MaxVersion = f.name, f.level
		res.SupportedFeatures = append(res.SupportedFeatures, supported)
	}
	res.FinalizedFeaturesEpoch = 1
	return res
}

// features are those of Kafka's that are on.
var features = []struct {
	name  string
	level int16
}{
	{"share.version", 1},       // share groups (KIP-932)
	{"group.version", 1},       // consumer groups that the broker assigns (KIP-848)
	{"transaction.version", 2}, // partitions are added to transactions by what is produced, and each has an epoch (KIP-890)
}

// Key 57, UpdateFeatures, versions 0 to 2: the levels are what this program is, and can't be changed. One that is to be what it is
// already is fine; another is 95 for all of the request.
func (c *conn) updateFeatures(r *kmsg.UpdateFeaturesRequest) kmsg.Response {
	res := kmsg.NewPtrUpdateFeaturesResponse()
	err := c.session.May(broker.Alter, broker.OnCluster, "")
	for i := range r.FeatureUpdates {
		if err == nil {
			err = featureStays(&r.FeatureUpdates[i])
		}
	}
	named := r.Version < 2 // the features are told each
	if named && err == nil {
		err = c.charge(topicBytes * len(r.FeatureUpdates))
	}
	if res.ErrorCode, res.ErrorMessage = outcome(err); err != nil || !named {
		return res
	}
	for i := range r.FeatureUpdates {
		one := kmsg.NewUpdateFeaturesResponseResult()
		one.Feature, one.ErrorMessage = r.FeatureUpdates[i].Feature, kmsg.StringPtr("it is at this level")
		res.Results = append(res.Results, one)
	}
	return res
}

func featureStays(u *kmsg.UpdateFeaturesRequestFeatureUpdate) error {
	for _, f := range features {
		switch {
		case f.name != u.Feature:
		case f.level != u.MaxVersionLevel:
			return faultf(wire.InvalidUpdateVersion, "feature '%s' is at level %d, and can't be at %d: it is what this broker's version has", f.name, f.level, u.MaxVersionLevel)
		default:
			return nil
		}
	}
	return faultf(wire.InvalidUpdateVersion, "there is no feature '%s' here", u.Feature)
}

func advertised(s wire.Support) kmsg.ApiVersionsResponseApiKey {
	k := kmsg.NewApiVersionsResponseApiKey()
	k.ApiKey, k.MinVersion, k.MaxVersion = int16(s.Key), s.Min, s.Max
	return k
}

// answerUnsupported answers a key or a version that is not served. The connection goes on, but where no answer can be meant.
//
//	ApiVersions of a newer version        in the oldest shape, error 35 and the versions of this
//	                                      key alone, so that the client asks again: who gets
//	                                      anything else waits for ever
//	Produce of a newer version            as the newest: error 35 for each partition, or nothing
//	                                      where no answer is wanted (acks=0)
//	a request that Kafka has              in that version, or the newest there is: error 35 where
//	                                      there is a place for it, else an answer without parts
//	one that nobody knows                 error 35 where answers mostly have it
//	what is no request, or comes before   no answer: the connection ends
//	the login
func (c *conn) answerUnsupported(h wire.Header, frame []byte, refused *wire.Refused) error {
	signsIn := h.Key == wire.SASLHandshake || h.Key == wire.SASLAuthenticate
	switch {
	case !h.Plausible() && h.Key != wire.APIVersions, !c.in && !signsIn && h.Key != wire.APIVersions:
		return refused
	}
	if err := c.out.drain(); err != nil {
		return err
	}
	if h.Key == wire.APIVersions {
		answer := kmsg.NewPtrApiVersionsResponse()
		answer.ErrorCode = int16(wire.UnsupportedVersion)
		answer.ApiKeys = append(answer.ApiKeys, advertised(*wire.Lookup(wire.APIVersions)))
		h.Version = 0
		return c.addAnswer(h, answer)
	}
	c.log.Refused("request", refused, "ask ApiVersions for what is served, or update the client")
	if h.Key == wire.Produce {
		return c.refuseProduce(frame, refused)
	}
	res, version := wire.Unsupported(h)
	if res == nil {
		return c.out.add(wire.Finish(wire.AppendUnknown(nil, h), 0, 0))
	}
	h.Version = version
	return c.addAnswer(h, res)
}

func (c *conn) addAnswer(h wire.Header, res kmsg.Response) error {
	return c.out.add(wire.Finish(res.AppendTo(wire.AppendResponseHeader(nil, h)), 0, 0))
}

// refuseProduce answers a Produce request of a version that is newer than those that are served.
func (c *conn) refuseProduce(frame []byte, refused *wire.Refused) error {
	h, body, err := wire.ParseAsNewest(frame)
	if err == nil {
		err = c.produce.Parse(h.Version, body)
	}
	if err != nil {
		return refused
	}
	q := &c.produce
	if len(q.Partitions) > fewPartitions {
		defer c.releaseMany()
		if err := c.charge(len(q.Partitions) * producedBytes); err != nil {
			return err
		}
	}
	if q.Acks == 0 {
		return errProduceUnanswered
	}
	for i := range q.Partitions {
		q.Partitions[i].Fail(wire.UnsupportedVersion, refused.Error())
	}
	return c.out.add(wire.Finish(q.AppendResponse(wire.AppendResponseHeader(nil, h)), 0, 0))
}
