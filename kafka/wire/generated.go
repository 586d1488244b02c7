package wire

import (
	"fmt"

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
		return nil, fmt.Errorf("%s version %d: %w (%v)", h.Key, h.Version, ErrMalformed, err)
	}
	return req, nil
}
