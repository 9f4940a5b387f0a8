// The normative statements of MQTT 5.0 by their numbers, in words of our own. After "|": why no test bears the number. Read by clauses.ts.
export const CLAUSES_5 = `
1.5.4-1 strings are well-formed UTF-8 without surrogates
1.5.4-2 strings have no U+0000
1.5.4-3 a byte order mark inside a string stays
1.5.5-1 variable byte integers use as few bytes as they can
1.5.7-1 both strings of a pair are valid strings
2.1.3-1 reserved flag bits have the listed value
2.2.1-2 a QoS 0 PUBLISH has no packet id
2.2.1-3 a client's new SUBSCRIBE, UNSUBSCRIBE or PUBLISH has an unused packet id that is not 0
2.2.1-4 a server's new PUBLISH has an unused packet id that is not 0
2.2.1-5 acknowledgements have the packet id of their PUBLISH
2.2.1-6 SUBACK and UNSUBACK have the packet id of what they answer
2.2.2-1 no properties: a property length of 0
3.1.0-1 CONNECT is a client's first packet
3.1.0-2 a second CONNECT is a protocol error
3.1.2-1 the protocol name is MQTT; another is refused and closed
3.1.2-2 a version that is not taken is refused and closed
3.1.2-3 the reserved connect flag is checked
3.1.2-4 a clean start discards the session
3.1.2-5 without a clean start the session goes on
3.1.2-6 without a clean start and a session there is a new one
3.1.2-7 a will is stored with the session
3.1.2-8 the will is published when the connection is gone and its delay or the session over, unless it was discarded
3.1.2-9 with the will flag, will properties, topic and payload are there
3.1.2-10 the will is removed once published or discarded
3.1.2-11 no will: will QoS 0
3.1.2-12 will QoS is 0, 1 or 2
3.1.2-13 no will: will retain 0
3.1.2-14 a will without retain is published as not retained
3.1.2-15 a will with retain is published as retained
3.1.2-16 no user name flag, no user name
3.1.2-17 user name flag, user name
3.1.2-18 no password flag, no password
3.1.2-19 password flag, password
3.1.2-20 the client sends PINGREQ when it has nothing else | a client's duty
3.1.2-21 the client uses the server's keep alive | a client's duty
3.1.2-22 silence of one and a half times the keep alive closes the connection
3.1.2-23 session state is kept while its expiry has not passed
3.1.2-24 no packet to a client exceeds its maximum packet size
3.1.2-25 a message that is too large counts as delivered
3.1.2-26 topic aliases to a client do not exceed its maximum
3.1.2-27 no topic aliases to a client that takes none
3.1.2-28 no response information unless asked for
3.1.2-29 without problem information, reason strings and user properties stand in CONNACK, DISCONNECT and PUBLISH only
3.1.2-30 a client that began an authentication sends AUTH or DISCONNECT only, until CONNACK | a client's duty; what comes else is refused as 3.1.0-2 and 4.13.1-1 are
3.1.3-1 the fields of CONNECT come in their order
3.1.3-2 the client id names the session
3.1.3-3 the client id is there, and first
3.1.3-4 the client id is a UTF-8 string
3.1.3-5 client ids of 1 to 23 letters and digits are taken
3.1.3-6 an empty client id is given a unique one
3.1.3-7 the assigned client id is returned
3.1.3-8 a refused client id closes the connection | the gateway takes every client id of MQTT 5 that is a UTF-8 string
3.1.3-9 a will in its delay is not sent when the client returns
3.1.3-10 a will's user properties keep their order
3.1.3-11 the will topic is a UTF-8 string
3.1.3-12 the user name is a UTF-8 string
3.1.4-1 a CONNECT that does not match the format closes the connection
3.1.4-2 a client that fails further checks is closed
3.1.4-3 another connection of the client id is told and closed
3.1.4-4 clean start is processed
3.1.4-5 CONNECT is acknowledged with Success
3.1.4-6 after a refused CONNECT nothing else is processed
3.2.0-1 CONNACK comes before any other packet
3.2.0-2 one CONNACK a connection
3.2.2-1 the reserved acknowledge flags are 0
3.2.2-2 clean start: session present is 0
3.2.2-3 session present says whether there was a session
3.2.2-4 a client without a session closes when one is said to be present | a client's duty
3.2.2-5 a client discards its session when none is present | a client's duty
3.2.2-6 a refusal has session present 0
3.2.2-7 a refusal closes the connection
3.2.2-8 CONNACK has one of its reason codes
3.2.2-9 a lower maximum QoS is said
3.2.2-10 SUBSCRIBE with any QoS is taken all the same
3.2.2-11 a client keeps to the maximum QoS | a client's duty
3.2.2-12 a will whose QoS is not taken refuses the CONNECT
3.2.2-13 a retained will refuses the CONNECT where nothing is retained
3.2.2-14 a client keeps to retain available | a client's duty
3.2.2-15 a client keeps to the maximum packet size
3.2.2-16 the assigned client id is new
3.2.2-17 a client keeps to the topic alias maximum
3.2.2-18 a client sends no aliases where none are taken | a client's duty; with a maximum of 0 every alias is above it (3.2.2-17)
3.2.2-19 a reason string does not make CONNACK too large
3.2.2-20 user properties do not make CONNACK too large
3.2.2-21 a client uses the server's keep alive | a client's duty
3.2.2-22 without one the server uses the client's
3.3.1-1 DUP is set on what is sent again
3.3.1-2 DUP is 0 with QoS 0
3.3.1-3 DUP is not taken over from the incoming PUBLISH
3.3.1-4 QoS is not 3
3.3.1-5 a retained PUBLISH replaces the retained message
3.3.1-6 an empty retained PUBLISH removes the retained message
3.3.1-7 an empty message is not retained
3.3.1-8 a PUBLISH without retain leaves the retained message
3.3.1-9 retain handling 0 sends retained messages
3.3.1-10 retain handling 1 sends them for new subscriptions only
3.3.1-11 retain handling 2 sends none
3.3.1-12 without retain as published the flag is 0
3.3.1-13 with it the flag is as published
3.3.2-1 the topic comes first and is a UTF-8 string
3.3.2-2 the topic has no wildcards
3.3.2-3 a delivered topic matches the subscription
3.3.2-4 the payload format indicator is passed on
3.3.2-5 an expired message is not delivered
3.3.2-6 the expiry that is passed on is less the time waited
3.3.2-7 topic aliases end with their connection
3.3.2-8 topic alias 0 does not exist
3.3.2-9 a client's aliases do not exceed the server's maximum
3.3.2-10 a client takes all aliases up to its maximum
3.3.2-11 a server's aliases do not exceed the client's maximum
3.3.2-12 a server takes all aliases up to its maximum
3.3.2-13 the response topic is a UTF-8 string
3.3.2-14 the response topic has no wildcards
3.3.2-15 the response topic is passed on
3.3.2-16 correlation data are passed on
3.3.2-17 user properties are passed on
3.3.2-18 user properties keep their order
3.3.2-19 the content type is a UTF-8 string
3.3.2-20 the content type is passed on
3.3.4-1 PUBLISH is answered according to its QoS
3.3.4-2 overlapping subscriptions: the highest QoS
3.3.4-3 the subscription identifiers are in the message
3.3.4-4 one copy has all identifiers
3.3.4-5 several copies have theirs each
3.3.4-6 a client's PUBLISH has no subscription identifier
3.3.4-7 a client keeps to the server's receive maximum
3.3.4-8 a client delays nothing else for it | a client's duty
3.3.4-9 a server keeps to the client's receive maximum
3.3.4-10 a server delays nothing else for it
3.4.2-1 PUBACK has one of its reason codes
3.4.2-2 a reason string does not make PUBACK too large
3.4.2-3 user properties do not make PUBACK too large
3.5.2-1 PUBREC has one of its reason codes
3.5.2-2 a reason string does not make PUBREC too large
3.5.2-3 user properties do not make PUBREC too large
3.6.1-1 PUBREL has the flags 0010
3.6.2-1 PUBREL has one of its reason codes
3.6.2-2 a reason string does not make PUBREL too large
3.6.2-3 user properties do not make PUBREL too large
3.7.2-1 PUBCOMP has one of its reason codes
3.7.2-2 a reason string does not make PUBCOMP too large
3.7.2-3 user properties do not make PUBCOMP too large
3.8.1-1 SUBSCRIBE has the flags 0010
3.8.3-1 topic filters are UTF-8 strings
3.8.3-2 SUBSCRIBE has a filter at least
3.8.3-3 No Local keeps a client's messages from it
3.8.3-4 No Local with a shared subscription is a protocol error
3.8.3-5 reserved subscription option bits are 0
3.8.4-1 SUBSCRIBE is answered by SUBACK
3.8.4-2 SUBACK has the packet id of SUBSCRIBE
3.8.4-3 the same filter replaces the subscription
3.8.4-4 retain handling 0 sends again, and nothing is lost by the replacement
3.8.4-5 several filters are as several packets with one answer
3.8.4-6 SUBACK has a code for each filter
3.8.4-7 each code is the granted QoS or a refusal
3.8.4-8 a delivery has the lower QoS of message and grant
3.9.2-1 a reason string does not make SUBACK too large
3.9.2-2 user properties do not make SUBACK too large
3.9.3-1 the codes have the order of the filters
3.9.3-2 SUBACK has its reason codes only
3.10.1-1 UNSUBSCRIBE has the flags 0010
3.10.3-1 topic filters are UTF-8 strings
3.10.3-2 UNSUBSCRIBE has a filter at least
3.10.4-1 filters are compared character by character
3.10.4-2 nothing new is delivered
3.10.4-3 what was begun is completed
3.10.4-4 UNSUBSCRIBE is answered by UNSUBACK
3.10.4-5 with its packet id, also when nothing was deleted
3.10.4-6 several filters are as several packets with one answer
3.11.2-1 a reason string does not make UNSUBACK too large
3.11.2-2 user properties do not make UNSUBACK too large
3.11.3-1 the codes have the order of the filters
3.11.3-2 UNSUBACK has its reason codes only
3.12.4-1 PINGREQ is answered by PINGRESP
3.14.0-1 a server sends DISCONNECT only after a CONNACK that is no refusal
3.14.1-1 reserved bits of DISCONNECT are checked
3.14.2-1 DISCONNECT has one of its reason codes
3.14.2-2 a server's DISCONNECT has no session expiry
3.14.2-3 a reason string does not make DISCONNECT too large
3.14.2-4 user properties do not make DISCONNECT too large
3.14.4-1 nothing is sent after DISCONNECT
3.14.4-2 the sender of DISCONNECT closes the connection
3.14.4-3 DISCONNECT with Success discards the will
3.15.1-1 AUTH has the flags 0000
3.15.2-1 AUTH has one of its reason codes
3.15.2-2 a reason string does not make AUTH too large | the gateway puts no reason string into AUTH
3.15.2-3 user properties do not make AUTH too large | the gateway puts no user properties into AUTH
4.1.0-1 session state is kept while the connection is open
4.1.0-2 session state is discarded when its expiry has passed
4.2-1 the transport is an ordered, lossless stream of bytes
4.3.1-1 QoS 0 is sent with DUP 0
4.3.2-1 QoS 1: an unused packet id for a new message
4.3.2-2 QoS 1: DUP 0 at first
4.3.2-3 QoS 1: unacknowledged until PUBACK
4.3.2-4 QoS 1: PUBACK with the packet id once the message is owned
4.3.2-5 QoS 1: after PUBACK the packet id is a new message's
4.3.3-1 QoS 2: an unused packet id for a new message
4.3.3-2 QoS 2: DUP 0 at first
4.3.3-3 QoS 2: PUBLISH unacknowledged until PUBREC
4.3.3-4 QoS 2: PUBREL upon PUBREC without an error
4.3.3-5 QoS 2: PUBREL unacknowledged until PUBCOMP
4.3.3-6 QoS 2: no PUBLISH again after PUBREL
4.3.3-7 QoS 2: no expiry once sent
4.3.3-8 QoS 2: PUBREC with the packet id once the message is owned
4.3.3-9 QoS 2: after PUBREC with an error the packet id is a new message's
4.3.3-10 QoS 2: until PUBREL, PUBREC again and no second delivery
4.3.3-11 QoS 2: PUBREL is answered by PUBCOMP
4.3.3-12 QoS 2: after PUBCOMP the packet id is a new message's
4.3.3-13 QoS 2: the flow goes on although the message expired
4.4.0-1 what is unacknowledged is sent again when the session resumes, and at no other time
4.4.0-2 an acknowledgement with an error ends the message
4.5.0-1 a message goes into the session of every client with a matching subscription
4.5.0-2 a client acknowledges what it receives | a client's duty
4.6.0-1 what is sent again keeps its order
4.6.0-2 PUBACKs have the order of the PUBLISHes
4.6.0-3 PUBRECs have the order of the PUBLISHes
4.6.0-4 PUBRELs have the order of the PUBRECs
4.6.0-5 a topic's messages of one client and QoS keep their order
4.6.0-6 every topic is ordered for subscriptions that are not shared
4.7.0-1 topic names have no wildcards
4.7.1-1 # stands alone on the last level
4.7.1-2 + stands alone on its level
4.7.2-1 leading wildcards do not match topics that begin with $
4.7.3-1 topics and filters have a character at least
4.7.3-2 topics and filters have no U+0000
4.7.3-3 topics and filters have 65,535 bytes at most
4.7.3-4 topics and filters are not normalised
4.8.2-1 a shared subscription begins with $share/ and a name
4.8.2-2 the share name has no /, + or #, and a filter follows
4.8.2-3 a shared delivery keeps to the granted QoS
4.8.2-4 a QoS 2 delivery that was begun is completed with that client
4.8.2-5 it goes to nobody else when that session ends
4.8.2-6 a refused message goes to nobody else
4.9.0-1 the send quota begins at the receive maximum or below
4.9.0-2 no PUBLISH with QoS 1 or 2 at quota 0
4.9.0-3 other packets go on at quota 0
4.12.0-1 an unknown authentication method closes the connection
4.12.0-2 a server's AUTH has Continue authentication
4.12.0-3 a client's AUTH has Continue authentication
4.12.0-4 a refused authentication closes the connection
4.12.0-5 the method is the same all along
4.12.0-6 without a method in CONNECT there is none in CONNACK, and no AUTH
4.12.0-7 without a method in CONNECT a client sends no AUTH
4.12.1-1 re-authentication has the same method
4.12.1-2 a failed re-authentication closes the connection
4.13.1-1 a malformed packet or protocol error closes the connection
4.13.2-1 a reason code of 0x80 or above in CONNACK or DISCONNECT closes the connection
6.0.0-1 MQTT over WebSocket is in binary frames | WebSocket listeners are not built
6.0.0-2 packets may lie across frames | WebSocket listeners are not built
6.0.0-3 the client offers the subprotocol mqtt | a client's duty
6.0.0-4 the server answers with the subprotocol mqtt | WebSocket listeners are not built
`;
