export class Notifier {
  constructor(private readonly channel: string) {}

  describe(): object {
    return { channel: this.channel };
  }
}
