// The part of autocannon that bench/http.ts uses; the package has no types of its own.
declare module "autocannon" {
  interface Statistics {
    readonly average: number;
    readonly p50: number;
    readonly p99: number;
    readonly max: number;
  }
  interface Result {
    readonly requests: Statistics;
    readonly latency: Statistics;
    readonly non2xx: number;
    readonly errors: number;
  }
  export default function autocannon(options: { readonly url: string; readonly connections: number; readonly duration: number }): Promise<Result>;
}
