package wire

import (
	"strconv"
	"strings"
	"unicode/utf8"
)

// Code is a reply code of section 1.2 of the specification.
type Code uint16

// The reply codes. Soft ones close a channel, hard ones the connection.
const (
	ReplySuccess       Code = 200
	ContentTooLarge    Code = 311
	NoRoute            Code = 312
	NoConsumers        Code = 313
	ConnectionForced   Code = 320
	InvalidPath        Code = 402
	AccessRefused      Code = 403
	NotFound           Code = 404
	ResourceLocked     Code = 405
	PreconditionFailed Code = 406
	FrameError         Code = 501
	SyntaxError        Code = 502
	CommandInvalid     Code = 503
	ChannelError       Code = 504
	UnexpectedFrame    Code = 505
	ResourceError      Code = 506
	NotAllowed         Code = 530
	NotImplemented     Code = 540
	InternalError      Code = 541
)

var codeNames = map[Code]string{
	ReplySuccess:       "REPLY_SUCCESS",
	ContentTooLarge:    "CONTENT_TOO_LARGE",
	NoRoute:            "NO_ROUTE",
	NoConsumers:        "NO_CONSUMERS",
	ConnectionForced:   "CONNECTION_FORCED",
	InvalidPath:        "INVALID_PATH",
	AccessRefused:      "ACCESS_REFUSED",
	NotFound:           "NOT_FOUND",
	ResourceLocked:     "RESOURCE_LOCKED",
	PreconditionFailed: "PRECONDITION_FAILED",
	FrameError:         "FRAME_ERROR",
	SyntaxError:        "SYNTAX_ERROR",
	CommandInvalid:     "COMMAND_INVALID",
	ChannelError:       "CHANNEL_ERROR",
	UnexpectedFrame:    "UNEXPECTED_FRAME",
	ResourceError:      "RESOURCE_ERROR",
	NotAllowed:         "NOT_ALLOWED",
	NotImplemented:     "NOT_IMPLEMENTED",
	InternalError:      "INTERNAL_ERROR",
}

// String gives the name that RabbitMQ writes in reply texts, such as NOT_FOUND.
func (c Code) String() string {
	if s, ok := codeNames[c]; ok {
		return s
	}
	return "CODE_" + strconv.Itoa(int(c))
}

// Hard tells whether the code closes the whole connection rather than one channel.
func (c Code) Hard() bool {
	switch c {
	case ContentTooLarge, NoRoute, NoConsumers, AccessRefused, NotFound, ResourceLocked, PreconditionFailed:
		return false
	}
	return true
}

// MaxShortStringBytes is the most that a short string holds: names, keys, tags and reply texts.
const MaxShortStringBytes = 255

// ReplyText is the text of a close: "NAME - explanation", as ShortText.
func ReplyText(c Code, explanation string) string { return ShortText(c.String() + " - " + explanation) }

// ShortText makes text for people of what may quote any bytes: valid UTF-8, because clients decode it strictly, cut
// between characters to what a short string holds.
func ShortText(s string) string {
	s = strings.ToValidUTF8(s, "\uFFFD")
	if len(s) <= MaxShortStringBytes {
		return s
	}
	end := MaxShortStringBytes - len("...")
	for !utf8.RuneStart(s[end]) {
		end--
	}
	return s[:end] + "..."
}
