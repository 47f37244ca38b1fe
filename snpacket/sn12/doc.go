// Package sn12 encodes and decodes the messages of MQTT-SN 1.2 (section 5.4).
//
// There is one struct per message. Parse reads a body as snpacket.Split returns
// it, Append writes header and body behind what the caller's buffer already
// holds, Len is the number of octets Append would write.
//
//   - Byte slices in a parsed message alias the datagram. Whoever keeps the message
//     longer than the datagram's buffer copies them first.
//   - Parse sets every field. When it fails the receiver is left as it was.
//   - When Append fails it returns the buffer as it was.
//   - Nothing allocates, except the function Parse of the package, made for tools,
//     and Append when the buffer is too small.
//
// The codec refuses what cannot be read: a wrong size, a missing part. It does not
// judge meaning: a ProtocolId of 2, a PUBLISH with QoS 1 and MsgId 0, a wildcard
// in a REGISTER and text that is not UTF-8 all parse, because the session may have
// to answer them with a return code. Bits of the Flags octet that a message does not
// use are ignored on receipt and zero on sending (section 5.3.4).
//
// A field that the chosen form of a message has no room for, such as Topic in an
// empty WILLTOPIC or TopicID in a SUBSCRIBE by name, must be zero: Append refuses to
// lose it silently.
package sn12
