// The part of ringbufferjs that bench/micro/series-window.ts uses; the package has no types of its own.
declare module "ringbufferjs" {
  export default class RingBuffer<T> {
    constructor(capacity: number);
    isFull(): boolean;
    deq(): T;
    enq(value: T): number;
    size(): number;
  }
}
