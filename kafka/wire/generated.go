package wire

import (
	"fmt"
	"reflect"

	"github.com/twmb/franz-go/pkg/kmsg"
)

// Decode reads the body of any request but Produce and Fetch into its
// generated type. Strings are copied; byte slices alias body. Measure must have
// seen it before: the generated decoder reserves what the body claims.
func Decode(h Header, body []byte) (kmsg.Request, error) {
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil {
		return nil, &Refused{h.Key, h.Version}
	}
	req.SetVersion(h.Version)
	if err := req.ReadFrom(body); err != nil {
		return nil, h.Malformed(fmt.Errorf("%w (%v)", ErrMalformed, err))
	}
	return req, nil
}

// Unsupported is the answer to a request that is not served: error 35 for all of it, where an answer to that request has a
// place for one, and else an answer in which nothing stands. It is in the version that was asked for, or in the newest one that
// is known, which is then told. It is nil where nothing is known of such a request.
func Unsupported(h Header) (res kmsg.Response, version int16) {
	req := kmsg.RequestForKey(int16(h.Key))
	if req == nil {
		return nil, 0
	}
	version = min(h.Version, req.MaxVersion())
	req.SetVersion(version)
	res = req.ResponseKind()
	res.SetVersion(version)
	if code := reflect.ValueOf(res).Elem().FieldByName("ErrorCode"); code.IsValid() && code.Kind() == reflect.Int16 {
		code.SetInt(int64(UnsupportedVersion))
	}
	return res, version
}

// AppendUnknown appends the whole answer to a request of which nothing is known, behind four bytes for its size. All requests that
// Kafka has got since 2.4 are flexible, and nearly all answers begin with a time and an error.
func AppendUnknown(dst []byte, h Header) []byte {
	dst = appendInt32(append(dst, 0, 0, 0, 0), h.Correlation)
	dst = appendInt32(appendTags(dst, true), 0)
	return appendInt16(dst, int16(UnsupportedVersion))
}
