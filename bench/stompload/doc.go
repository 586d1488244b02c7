// Package stompload loads a broker over STOMP 1.2, faster than clients for users are: frames are made once and sent many at a
// time, and what comes is only looked at as far as it counts. It checks that each message comes once and in order.
package stompload
