// The control packets that are not hot, as values of our own. Everything in them is a copy and outlives the batch.

export type UserProperties = readonly (readonly [name: string, value: string])[];

/** `sessionExpiry` of a session that never ends by itself. */
export const SESSION_EXPIRY_NEVER = 0xffff_ffff;

export interface Will {
  readonly topic: string;
  readonly payload: Buffer;
  readonly qos: 0 | 1 | 2;
  readonly retain: boolean;
  /** Seconds. */
  readonly delay: number;
  /** Seconds, or MESSAGE_EXPIRY_NONE. */
  readonly messageExpiry: number;
  /** The payload is said to be UTF-8; not checked. */
  readonly isText: boolean;
  /** Properties to forward, as on the wire without their length (no delay, no expiry); at most 65535 bytes. */
  readonly properties: Buffer;
}

export interface Connect {
  /** 4 for MQTT 3.1 too, which differs in little else than its name. */
  readonly protocolVersion: 4 | 5;
  /** MQTT 3.1 ("MQIsdp"). */
  readonly isMqtt31: boolean;
  /** The level's high bit is set: a bridge of mosquitto, which must not get back what it publishes. */
  readonly isBridge: boolean;
  /** Clean session in 3.1.1. */
  readonly cleanStart: boolean;
  readonly keepAliveSeconds: number;
  /** "" when the client leaves the choice to the gateway (in 3.1.1 only with cleanStart). */
  readonly clientId: string;
  readonly will: Will | undefined;
  readonly userName: string | undefined;
  readonly password: Buffer | undefined;
  /** Seconds; in 3.1.1: 0 with a clean session, else SESSION_EXPIRY_NEVER. */
  readonly sessionExpiry: number;
  /** 65535 when not given. */
  readonly receiveMaximum: number;
  /** Largest packet the client takes; 268435460 (the most MQTT can express) when not given. */
  readonly maximumPacketSize: number;
  readonly topicAliasMaximum: number;
  readonly requestProblemInformation: boolean;
  readonly requestResponseInformation: boolean;
  readonly authenticationMethod: string | undefined;
  readonly authenticationData: Buffer | undefined;
  readonly userProperties: UserProperties;
}

export interface SubscriptionRequest {
  /** Well-formed UTF-8 and not empty; whether its wildcards are placed rightly is the broker's matter (broker/topic.ts). */
  readonly filter: string;
  readonly qos: 0 | 1 | 2;
  readonly noLocal: boolean;
  readonly retainAsPublished: boolean;
  /** 0 send retained, 1 only if the subscription is new, 2 do not. */
  readonly retainHandling: 0 | 1 | 2;
}

export interface Subscribe {
  readonly packetId: number;
  /** 0 = none. */
  readonly subscriptionIdentifier: number;
  readonly subscriptions: readonly SubscriptionRequest[];
  readonly userProperties: UserProperties;
}

export interface Unsubscribe {
  readonly packetId: number;
  readonly filters: readonly string[];
  readonly userProperties: UserProperties;
}

export interface Disconnect {
  /** 0 in 3.1.1. */
  readonly reasonCode: number;
  /** Seconds; undefined = as in CONNECT. That it must not rise from 0 is the caller's check (wire 0x82). */
  readonly sessionExpiry: number | undefined;
  readonly reasonString: string | undefined;
  readonly userProperties: UserProperties;
}

export interface Auth {
  readonly reasonCode: number;
  readonly authenticationMethod: string;
  readonly authenticationData: Buffer | undefined;
  readonly userProperties: UserProperties;
}

/** To be encoded; undefined or missing properties are not sent, and none of them to 3.1.1. */
export interface Connack {
  readonly sessionPresent: boolean;
  /** MQTT 5 reason code; 3.1.1 gets its return code (reason-codes.ts). */
  readonly reasonCode: number;
  readonly sessionExpiry?: number | undefined;
  readonly receiveMaximum?: number | undefined;
  readonly maximumPacketSize?: number | undefined;
  readonly topicAliasMaximum?: number | undefined;
  readonly assignedClientId?: string | undefined;
  readonly serverKeepAlive?: number | undefined;
  readonly serverReference?: string | undefined;
  readonly sharedSubscriptionAvailable?: boolean | undefined;
  readonly responseInformation?: string | undefined;
  readonly reasonString?: string | undefined;
  readonly authenticationMethod?: string | undefined;
  readonly authenticationData?: Buffer | undefined;
}
