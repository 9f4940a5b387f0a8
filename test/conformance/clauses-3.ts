// The normative statements of MQTT 3.1.1 by their numbers, in words of our own. After "|": why no test bears the number. Read by clauses.ts.
export const CLAUSES_3 = `
1.5.3-1 strings are well-formed UTF-8 without surrogates
1.5.3-2 strings have no U+0000
1.5.3-3 a byte order mark inside a string stays
2.2.2-1 reserved flag bits have the listed value
2.2.2-2 other flags close the connection
2.3.1-1 SUBSCRIBE, UNSUBSCRIBE and PUBLISH with QoS 1 or 2 have a packet id that is not 0
2.3.1-2 a new packet of a client has an unused packet id
2.3.1-3 what is sent again keeps its packet id
2.3.1-4 the same holds for a server's PUBLISH
2.3.1-5 a QoS 0 PUBLISH has no packet id
2.3.1-6 acknowledgements have the packet id of their PUBLISH
2.3.1-7 SUBACK and UNSUBACK have the packet id of what they answer
3.1.0-1 CONNECT is a client's first packet
3.1.0-2 a second CONNECT closes the connection
3.1.2-1 another protocol name is not processed as MQTT 3.1.1
3.1.2-2 a level that is not taken gets return code 1 and is closed
3.1.2-3 the reserved connect flag is checked
3.1.2-4 without a clean session the session goes on, and is stored at the end
3.1.2-5 such a session gets what is published with QoS 1 and 2 meanwhile
3.1.2-6 a clean session begins anew, and its state is not used again
3.1.2-7 retained messages outlive sessions
3.1.2-8 a will is stored and published when the connection ends, unless DISCONNECT came
3.1.2-9 with the will flag, will topic and message are there
3.1.2-10 the will is removed once published or discarded
3.1.2-11 no will: no will fields, QoS and retain 0
3.1.2-12 no will: none is published
3.1.2-13 no will: will QoS 0
3.1.2-14 will QoS is 0, 1 or 2
3.1.2-15 no will: will retain 0
3.1.2-16 a will without retain is published as not retained
3.1.2-17 a will with retain is published as retained
3.1.2-18 no user name flag, no user name
3.1.2-19 user name flag, user name
3.1.2-20 no password flag, no password
3.1.2-21 password flag, password
3.1.2-22 no user name, no password
3.1.2-23 the client sends a packet within its keep alive | a client's duty
3.1.2-24 silence of one and a half times the keep alive closes the connection
3.1.3-1 the fields of CONNECT come in their order
3.1.3-2 the client id names the session
3.1.3-3 the client id is there, and first
3.1.3-4 the client id is a UTF-8 string
3.1.3-5 client ids of 1 to 23 letters and digits are taken
3.1.3-6 an empty client id is given a unique one
3.1.3-7 an empty client id needs a clean session
3.1.3-8 without one it gets return code 2 and is closed
3.1.3-9 a refused client id gets return code 2 and is closed
3.1.3-10 the will topic is a UTF-8 string
3.1.3-11 the user name is a UTF-8 string
3.1.4-1 a CONNECT that does not conform closes the connection
3.1.4-2 another connection of the client id is closed
3.1.4-3 clean session is processed
3.1.4-4 CONNECT is acknowledged with return code 0
3.1.4-5 after a refused CONNECT nothing else is processed
3.2.0-1 CONNACK is a server's first packet
3.2.2-1 clean session: session present is 0
3.2.2-2 session present says whether there was a session
3.2.2-3 without one it is 0
3.2.2-4 a refusal has session present 0
3.2.2-5 a refusal closes the connection
3.2.2-6 what no return code fits is closed without CONNACK
3.3.1-1 DUP is set on what is sent again
3.3.1-2 DUP is 0 with QoS 0
3.3.1-3 DUP is not taken over from the incoming PUBLISH
3.3.1-4 QoS 3 closes the connection
3.3.1-5 a retained PUBLISH is stored
3.3.1-6 a new subscription gets the retained messages that match
3.3.1-7 a retained QoS 0 PUBLISH replaces what was retained
3.3.1-8 a message that is sent since it was retained has the retain flag
3.3.1-9 a message to an established subscription has not
3.3.1-10 an empty retained PUBLISH removes the retained message
3.3.1-11 an empty message is not retained
3.3.1-12 a PUBLISH without retain leaves the retained message
3.3.2-1 the topic comes first and is a UTF-8 string
3.3.2-2 the topic has no wildcards
3.3.2-3 a delivered topic matches the subscription
3.3.4-1 PUBLISH is answered according to its QoS
3.3.5-1 overlapping subscriptions: the highest QoS
3.3.5-2 a PUBLISH that is not authorised is acknowledged or closed | no topic is refused to a client that was let in
3.6.1-1 PUBREL has the flags 0010
3.8.1-1 SUBSCRIBE has the flags 0010
3.8.3-1 topic filters are UTF-8 strings
3.8.3-2 filters with wildcards are taken or refused
3.8.3-3 SUBSCRIBE has a filter at least
3.8.3-4 reserved bits and QoS 3 close the connection
3.8.4-1 SUBSCRIBE is answered by SUBACK
3.8.4-2 SUBACK has the packet id of SUBSCRIBE
3.8.4-3 the same filter replaces the subscription, retained messages are sent again
3.8.4-4 several filters are as several packets with one answer
3.8.4-5 SUBACK has a code for each filter
3.8.4-6 a delivery has the lower QoS of message and grant
3.9.3-1 the codes have the order of the filters
3.9.3-2 SUBACK has its four codes only
3.10.1-1 UNSUBSCRIBE has the flags 0010
3.10.3-1 topic filters are UTF-8 strings
3.10.3-2 UNSUBSCRIBE has a filter at least
3.10.4-1 filters are compared character by character
3.10.4-2 nothing new is delivered
3.10.4-3 what was begun is completed
3.10.4-4 UNSUBSCRIBE is answered by UNSUBACK with its packet id
3.10.4-5 also when nothing was deleted
3.10.4-6 several filters are as several packets with one answer
3.12.4-1 PINGREQ is answered by PINGRESP
3.14.1-1 reserved bits of DISCONNECT are checked
3.14.4-1 after DISCONNECT the client closes the connection
3.14.4-2 after DISCONNECT the client sends nothing
3.14.4-3 DISCONNECT discards the will
4.1.0-1 session state is kept for the whole session
4.1.0-2 a session lasts as long as its connection at least
4.3.1-1 QoS 0: the sender's part
4.3.2-1 QoS 1: the sender's part
4.3.2-2 QoS 1: the receiver's part
4.3.3-1 QoS 2: the sender's part
4.3.3-2 QoS 2: the receiver's part
4.4.0-1 what is unacknowledged is sent again when the session resumes
4.5.0-1 a message goes into the session of every client with a matching subscription
4.5.0-2 a client acknowledges what it receives | a client's duty
4.6.0-1 what is sent again keeps its order
4.6.0-2 PUBACKs have the order of the PUBLISHes
4.6.0-3 PUBRECs have the order of the PUBLISHes
4.6.0-4 PUBRELs have the order of the PUBRECs
4.6.0-5 a topic's messages keep their order
4.6.0-6 every topic is ordered
4.7.1-1 topic names have no wildcards
4.7.1-2 # stands alone on the last level
4.7.1-3 + stands alone on its level
4.7.2-1 leading wildcards do not match topics that begin with $
4.7.3-1 topics and filters have a character at least
4.7.3-2 topics and filters have no U+0000
4.7.3-3 topics and filters have 65,535 bytes at most
4.7.3-4 topics and filters are not normalised
4.8.0-1 a protocol violation closes the connection
4.8.0-2 a passing fault while a packet is processed closes the connection
6.0.0-1 MQTT over WebSocket is in binary frames | WebSocket listeners are not built
6.0.0-2 packets may lie across frames | WebSocket listeners are not built
6.0.0-3 the client offers the subprotocol mqtt | a client's duty
6.0.0-4 the server answers with the subprotocol mqtt | WebSocket listeners are not built
7.0.0-1 who is client and server at once conforms as both | the gateway is a server only
7.0.0-2 no extension is required of a peer | a statement of the whole; real clients of other makers are served in test/e2e
7.1.1-1 a server supports a stream transport
7.1.2-1 a client supports a stream transport | the gateway is a server only
`;
